"""Gateways and an agent, their real classes, in this process on a real Redis; and what the ledger in it holds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from scheduler.decision import Decision, Place, RequestShape
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.keys import PoolKeys
from scheduler.messages import Phase
from scheduler.pools import Pools
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from tests.invariants.lossy_pool import POOL
from tests.invariants.recount import Count, count_of, record_of, recount
from tests.polling import until
from tests.samples import card, report

RANKS = {"r0": "g", "r1": "g", "r2": ""}
REPORT_S = 0.1


class HeldTwiceError(AssertionError):
    """Two names hold one reservation; for a moment a forgotten name may, until it is reaped."""


class RealFleet:
    """`held` is what users hold: per reservation its decision, shape and phase, over all gateways."""

    def __init__(self, gateways: list[Pools], store: Store) -> None:
        self.gateways, self.store = gateways, store
        self.held: dict[int, tuple[Pools, Place, RequestShape, Phase]] = {}
        self._turns = 0

    async def place(self, tokens: int = 100) -> Decision:
        """On the gateways in turn."""
        self._turns += 1
        gateway = self.gateways[self._turns % len(self.gateways)]
        pool = gateway.get(POOL)
        assert pool is not None
        shape = RequestShape(prompt_tokens=tokens, output_tokens=10, prompt_key=str(self._turns))
        decision = await pool.place(shape)
        if isinstance(decision, Place):
            phase = Phase(self._turns % len(Phase))
            pool.advance(decision.reservation, phase)
            self.held[decision.reservation] = (gateway, decision, shape, phase)
        return decision

    def release(self, requests: int) -> None:
        for reservation in list(self.held)[:requests]:
            gateway, *_ = self.held.pop(reservation)
            pool = gateway.get(POOL)
            assert pool is not None
            pool.release(reservation)

    def records(self) -> dict[int, str]:
        """What users hold, in the ledger's spelling."""
        return {i: record_of(place, shape, phase) for i, (_, place, shape, phase) in self.held.items()}

    async def is_settled(self) -> bool:
        """Whether the ledger is exactly what users hold, and nobody places alone."""
        if any(gateway.degraded for gateway in self.gateways):
            return False
        with contextlib.suppress(StoreUnavailableError, StoreRejectedError, HeldTwiceError):
            held = await ledger_records(self.store)
            mine = self.records()
            return held == mine and await ledger_count(self.store) == recount(mine.values())
        return False


async def ledger_records(store: Store) -> dict[int, str]:
    """All live sets in one. Raises HeldTwiceError if an id is in two of them."""
    keys, found = PoolKeys(POOL), dict[int, str]()
    for name in await _hash(store, keys.gate):
        records = await _hash(store, keys.live(name))
        if twice := {i for i in records if int(i) in found}:
            raise HeldTwiceError(f"{name} and another name hold {', '.join(twice)}")
        found |= {int(i): record for i, record in records.items()}
    return found


async def ledger_count(store: Store) -> Count:
    """What the ledger says it adds up to; what is nothing is left out."""
    keys = PoolKeys(POOL)
    return count_of(await _hash(store, keys.load), await _hash(store, keys.group))


async def _hash(store: Store, key: str) -> dict[str, str]:
    cells = iter(await store.command("HGETALL", key))
    return {name.decode(): value.decode() for name, value in zip(cells, cells, strict=True)}


@asynccontextmanager
async def real_fleet(url: str, settings: SchedulerSettings, gateways: int = 2) -> AsyncIterator[RealFleet]:
    """A running fleet; every gateway and the agent have a connection of their own."""
    async with AsyncExitStack() as stores, asyncio.TaskGroup() as tasks:
        agent = tasks.create_task(_report(await stores.enter_async_context(open_store(url)), settings), name="agent")
        running: list[asyncio.Task[Any]] = [agent]
        pools = []
        for number in range(gateways):
            store = await stores.enter_async_context(open_store(url))
            pools.append(Pools(store, life=f"gateway-{number}", address="127.0.0.1:8000", settings=settings))
            running.append(tasks.create_task(pools[-1].run(), name=f"gateway {number}"))
        await until(lambda: all(each.names() and not each.degraded for each in pools), "all gateways have joined")
        yield RealFleet(pools, await stores.enter_async_context(open_store(url)))
        for task in running:
            task.cancel()


async def _report(store: Store, settings: SchedulerSettings) -> None:
    reporter = Reporter(store, pool=POOL, node="node", settings=settings)
    cards = {rank: card(rank, dp_group=group) for rank, group in RANKS.items()}
    while True:
        with contextlib.suppress(StoreUnavailableError, StoreRejectedError):
            await reporter.report([report(rank) for rank in RANKS], cards)
        await asyncio.sleep(REPORT_S)
