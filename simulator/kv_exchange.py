"""The KV one engine gives to others, and what it takes from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from uuid import uuid4

from simulator.engine import EngineCore
from simulator.engine_stats import EngineStats
from simulator.kv_fetch import PullOrder
from simulator.kv_pull import KvPuller
from simulator.settings import RankSettings
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

    def __init__(self, engine: Engine, core: EngineCore, stats: EngineStats, settings: RankSettings) -> None:
        self.engine_id = str(uuid4())
        self.address = ("", 0)
        self.puller = KvPuller(self, settings)
        self._engine, self._core, self._stats = engine, core, stats

    def offer(self, kv_request_id: str) -> dict[str, Any] | None:
        """The kv_transfer_params of the KV that is kept for a request; None where it is not (any more)."""
        held = self._core.held.find(kv_request_id)
        if held is None:
            return None
        host, port = self.address
        return KvOffer(
            engine_id=self.engine_id,
            request_id=kv_request_id,
            host=host,
            port=port,
            block_ids=tuple(held.blocks),
            num_tokens=held.num_tokens,
            cached_tokens=held.cached_tokens,
        ).params()

    def read_kv(self, kv_request_id: str, block_ids: tuple[int, ...]) -> tuple[int, ...] | None:
        """What these blocks hold now, whoever they belong to; None where there are no such blocks."""
        del kv_request_id
        if not all(0 <= block < self._core.kv.num_blocks for block in block_ids):
            return None
        return tuple(self._core.kv.held(block_ids))

    def kv_done(self, kv_request_id: str) -> None:
        """The request's KV is needed no longer."""
        if self._core.release_held(kv_request_id):
            self._engine.wake()
        else:
            self._stats.kv_notifications_after_expiry += 1

    def kv_heartbeat(self, kv_request_id: str, now_s: float) -> None:
        """The request's KV is still wanted."""
        self._core.held.extend(kv_request_id, now_s)

    def kv_loaded(self, order: PullOrder, contents: Sequence[int], took_s: float) -> None:
        """The KV of a request is here."""
        del took_s
        self._core.loaded(order.request_id, contents)
        self._engine.wake()

    def kv_failed(self, order: PullOrder, *, in_handshake: bool) -> None:
        """The KV of a request will not come."""
        del in_handshake
        if self._core.load_failed(order.request_id) is not None:
            self._engine.fail(order.request_id)
        self._engine.wake()

    def kv_fatal(self, order: PullOrder) -> None:
        """The other engine has no such blocks, and this one dies of it."""
        self._engine.die(f"no such blocks in engine {order.remote.engine_id}")
