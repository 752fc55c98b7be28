"""Gateways and an agent, their real classes, on one VirtualStore in virtual time; and the requests their users hold."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from random import Random
from typing import Any, NamedTuple

from scheduler.decision import Decision, Place, RequestShape
from scheduler.errors import StoreUnavailableError
from scheduler.messages import Phase, RankReport
from scheduler.pool import Pool
from scheduler.pools import Pools
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from tests.invariants.faulty_link import FaultyLink, Server
from tests.invariants.lossy_pool import POOL, LossyPool
from tests.invariants.recount import record_of, recount
from tests.invariants.virtual_loop import VirtualLoop
from tests.samples import card, report


class Held(NamedTuple):
    """What a user of a gateway holds."""

    place: Place
    shape: RequestShape
    phase: Phase

    def record(self) -> str:
        """In the ledger's spelling."""
        return record_of(self.place, self.shape, self.phase)


class Gateway:
    """One gateway process; `held` by reservation."""

    def __init__(self, fleet: VirtualFleet, number: int) -> None:
        self.stem = f"gateway-{number}@127.0.0.1:8000"
        self.link = FaultyLink(fleet.server, latency_s=fleet.latency_s, timeout_s=fleet.timeout_s)
        name, _, address = self.stem.partition("@")
        self.pools = Pools(
            self.link,
            life=name,
            address=address,
            settings=fleet.settings,
            rng=Random(number),
            clock=fleet.loop.time,
        )
        self.task = fleet.loop.create_task(self.pools.run(), name=self.stem)
        self.held: dict[int, Held] = {}

    @property
    def pool(self) -> Pool:
        pool = self.pools.get(POOL)
        assert pool is not None
        return pool

    async def place(self, shape: RequestShape, instead_of: int | None = None) -> Decision:
        if instead_of is not None:
            del self.held[instead_of]
        decision = await self.pool.place(shape, instead_of=instead_of)
        if isinstance(decision, Place):
            self.held[decision.reservation] = Held(decision, shape, Phase.PLACED)
        return decision

    async def advance(self, reservation: int, phase: Phase) -> None:
        held = self.held[reservation]
        self.held[reservation] = held._replace(phase=max(phase, held.phase))
        self.pool.advance(reservation, phase)

    async def release(self, reservation: int) -> None:
        del self.held[reservation]
        self.pool.release(reservation)


class VirtualFleet:
    """`ranks` by name with their DP group. The agent reports every `report_ms` what the ledger says, nothing more."""

    def __init__(
        self,
        settings: SchedulerSettings,
        *,
        ranks: dict[str, str],
        report_ms: int,
        timeout_ms: float,
        latency_ms: float = 0.2,
    ) -> None:
        self.settings, self.ranks = settings, ranks
        self.latency_s, self.timeout_s = latency_ms / 1000, timeout_ms / 1000
        self.loop = VirtualLoop()
        self.pool = LossyPool(settings.lease_ms)
        self.server = Server(self.pool.store, self.loop.time)
        self.lives = dict.fromkeys(ranks, 1)
        self.requests_in_engine: dict[str, int] = {}
        self._report_s = report_ms / 1000
        self.agent_link = FaultyLink(self.server, latency_s=self.latency_s, timeout_s=self.timeout_s)
        self._agent = self.loop.create_task(self._report(), name="agent")
        self._born = 0
        self.gateways: list[Gateway] = []

    def start_gateway(self) -> Gateway:
        self._born += 1
        self.gateways.append(Gateway(self, self._born))
        return self.gateways[-1]

    def do(self, deed: Coroutine[Any, Any, Any]) -> Any:
        """Runs until the deed is done."""
        return self.loop.run_until_complete(deed)

    def run(self, ms: float) -> None:
        """Time goes by. Raises what ended a process that should still run."""
        self.do(asyncio.sleep(ms / 1000))
        assert not self.loop.unhandled, self.loop.unhandled
        for task in (self._agent, *(gateway.task for gateway in self.gateways)):
            if task.done():
                task.result()
                raise AssertionError(f"{task.get_name()} ended")

    def kill(self, gateway: Gateway) -> None:
        """As kill -9: not a word more leaves it."""
        gateway.link.is_cut = True
        self.stop(gateway)

    def stop(self, gateway: Gateway) -> None:
        """It says goodbye if it can."""
        self.gateways.remove(gateway)
        self._end(gateway.task)

    def close(self) -> None:
        for gateway in list(self.gateways):
            self.kill(gateway)
        self._end(self._agent)
        self.do(self.loop.shutdown_asyncgens())
        self.loop.close()
        assert not self.loop.unhandled, self.loop.unhandled

    def differences(self) -> list[str]:
        """How the ledger differs from what the users of living gateways hold; empty: not at all."""
        found = []
        held = {gateway.stem: gateway.held for gateway in self.gateways}
        live = self.pool.live()
        for name, records in live.items():
            theirs = held.get(name.rpartition(".")[0], {})
            if records != {i: one.record() for i, one in theirs.items()}:
                found.append(f"{name} holds {records}, its users {theirs}")
        named = {name.rpartition(".")[0] for name in live}
        found += [f"nothing of {stem}'s is there" for stem, theirs in held.items() if theirs and stem not in named]
        count = recount(one.record() for theirs in held.values() for one in theirs.values())
        if self.pool.count() != count:
            found.append(f"the ledger adds up to {self.pool.count()}, not to {count}")
        return found

    async def _report(self) -> None:
        reporter = Reporter(self.agent_link, pool=POOL, node="node", settings=self.settings, rng=Random(0))
        while True:
            cards = {rank: card(rank, f"i{self.lives[rank]}", dp_group=group) for rank, group in self.ranks.items()}
            with contextlib.suppress(StoreUnavailableError):
                await reporter.report([self._sample(rank) for rank in self.ranks], cards)
            await asyncio.sleep(self._report_s)

    def _sample(self, rank: str) -> RankReport:
        life = f"i{self.lives[rank]}"
        sums = self.pool.count().lives.get(f"{rank} {life}")
        running, kv_tokens = (sums.dispatched, sums.engine_kv) if sums else (0, 0)
        return report(rank, life, running=running, kv_used_tokens=kv_tokens)

    def _end(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        self.do(asyncio.wait([task]))
        if not task.cancelled():
            task.result()
