"""The KV one engine gives to others, and what it takes from them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol
from uuid import uuid4

from simulator.engine import EngineCore
from simulator.engine_stats import EngineStats
from simulator.kv_audit import KvAudit
from simulator.kv_fetch import PullOrder
from simulator.kv_meetings import KvMeetings
from simulator.kv_peer import KvPeer
from simulator.kv_pull import KvPuller
from simulator.leg_params import offered
from simulator.misuse import MisuseBoard
from simulator.settings import RankSettings
from simulator.side_channel import OnClaimed
from simulator.side_channel_frames import Claim
from simulator.transfer_params import KvOffer


class Engine(Protocol):
    """What runs the engine."""

    def wake(self) -> None:
        """The core has something to do or to report."""

    def fail(self, request_id: int) -> None:
        """The request ended with an error."""

    def die(self, why: str) -> None:
        """The engine can do nothing more."""


class KvExchange:
    """Both sides of one engine's side channel; `address` is where other engines find it."""

    def __init__(
        self, engine: Engine, core: EngineCore, stats: EngineStats, settings: RankSettings, misuse: MisuseBoard
    ) -> None:
        self.engine_id = str(uuid4())
        self.address = ("", 0)
        self.puller = KvPuller(self, settings)
        self.audit = KvAudit(misuse)
        self.meetings = KvMeetings()
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._engine, self._core, self._stats, self._misuse = engine, core, stats, misuse

    def offer(self, kv_request_id: str, last_token: int) -> dict[str, Any] | None:
        """The kv_transfer_params of the KV that is kept for a request; None where it is not (any more)."""
        held = self._core.held.find(kv_request_id)
        if held is None:
            return None
        if self._settings.is_joint and not self._meet(kv_request_id):
            return None
        self.audit.offered(kv_request_id)
        if self._settings.connector in ("mooncake", "sglang"):
            return None
        host, port = self.address
        offer = KvOffer(
            engine_id=self.engine_id,
            request_id=kv_request_id,
            host=host,
            port=port,
            block_ids=tuple(held.blocks),
            num_tokens=held.num_tokens,
            cached_tokens=held.cached_tokens,
        )
        if self._settings.is_joint:
            return offer.params() | {"transfer_mode": "push"}
        return offered(self._settings, offer, last_token)

    def _meet(self, key: str) -> bool:
        """Give the KV to who has claimed it; False where it was said that nobody will come."""
        if self.meetings.is_unwanted(key):
            self._core.release_held(key)
            return False
        if (answer := self.meetings.kept(key)) is not None:
            self._loop.call_soon(self._give, key, answer)
        return True

    def claim_kv(self, claim: Claim, answer: OnClaimed) -> None:
        """Call with what the KV of a name holds, now or when it is there."""
        if self.meetings.claim(claim, answer):
            self._give(claim.key, answer)

    def _give(self, key: str, answer: OnClaimed) -> None:
        held = self._core.held.find(key)
        self.audit.read(key, (), held)
        if held is not None:
            answer(tuple(self._core.kv.held(held.blocks)))

    def read_kv(self, kv_request_id: str, block_ids: tuple[int, ...]) -> tuple[int, ...] | None:
        """What these blocks hold now, whoever they belong to; None where there are no such blocks."""
        self.audit.read(kv_request_id, block_ids, self._core.held.find(kv_request_id))
        if not all(0 <= block < self._core.kv.num_blocks for block in block_ids):
            return None
        return tuple(self._core.kv.held(block_ids))

    def kv_done(self, kv_request_id: str) -> None:
        """The request's KV is needed no longer."""
        held = self._core.release_held(kv_request_id)
        if self._settings.is_joint and not held:
            self.meetings.refuse(kv_request_id)
            return
        self.meetings.gone(kv_request_id)
        self.audit.freed(kv_request_id, held=held)
        if held:
            self._engine.wake()
        else:
            self._stats.transfers.notifications_after_expiry += 1

    def kv_heartbeat(self, kv_request_id: str, now_s: float) -> None:
        """The request's KV is still wanted."""
        self._core.held.extend(kv_request_id, now_s)

    def kv_loaded(self, order: PullOrder, contents: Sequence[int], took_s: float) -> None:
        """The KV of a request is here."""
        self._stats.transfers.pulled(len(contents) * self._settings.block_size_tokens, took_s)
        if self._core.loaded(order.request_id, contents):
            self._misuse.note("wrong_kv", order.remote.request_id, f"blocks {list(order.block_ids)}")
        self._engine.wake()

    def kv_expired(self, kv_request_id: str) -> None:
        """The request's KV was kept for too long."""
        self.meetings.gone(kv_request_id)
        self.audit.expired(kv_request_id)

    def kv_failed(self, order: PullOrder, peer: KvPeer, *, waited_out: bool = False) -> None:
        """The KV of a request will not come."""
        self._stats.transfers.failed(known=peer.known, policy=self._settings.kv_load_failure_policy)
        if peer.stranger:
            self._misuse.note("wrong_engine", order.remote.request_id, f"{peer.stranger}, not {order.remote.engine_id}")
        if self._core.load_failed(order.request_id) is not None:
            if waited_out:
                self._misuse.note("waited_out", order.remote.request_id)
            self._engine.fail(order.request_id)
        self._engine.wake()

    def kv_fatal(self, order: PullOrder) -> None:
        """The other engine has no such blocks, and this one dies of it."""
        self._engine.die(f"no such blocks in engine {order.remote.engine_id}")
