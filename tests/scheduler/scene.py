"""A gateway's pool at work on a store whose wire a test can hold, cut and make forget replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random

import msgspec

from scheduler import admin
from scheduler.calls import Call, Reply, Word
from scheduler.decision import Place
from scheduler.errors import SchedulerError, StoreRejectedError, StoreUnavailableError
from scheduler.keys import PoolKeys
from scheduler.lua import Script
from scheduler.messages import RankCard
from scheduler.pool import Pool
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from scheduler.tally import tally_of
from simulator.store import VirtualStore
from tests.polling import until
from tests.samples import card, report
from tests.scheduler.samples import SHAPE, rules

SETTINGS = SchedulerSettings(renew_ms=20, snapshot_ms=10, probe_ms=10, place_deadline_ms=2_000)
HASTY = msgspec.structs.replace(SETTINGS, place_deadline_ms=30)
MODEL = "m"

CardOf = Callable[[str, str], RankCard]
"""A rank's card, by its name and incarnation."""


class Wire:
    """What lies between a gateway and the store: it counts, and fails as told."""

    def __init__(self) -> None:
        self.store = VirtualStore()
        self.batches: list[list[Script]] = []
        self.prefixes: list[list[Script]] = []
        self.most_at_once = 0
        self.is_down = False
        self.index_answers = asyncio.Event()
        self.index_answers.set()
        self.refused: frozenset[Script] = frozenset()
        self.refusal: SchedulerError = StoreRejectedError("no permission")
        self.most_keys = 0
        self.replies_to_lose = 0
        self.reaps_asked = 0
        self.may_reap = asyncio.Event()
        self.may_reap.set()
        self.snapshots_arrive = asyncio.Event()
        self.snapshots_arrive.set()
        self.snapshots_held = 0
        self._at_once = 0
        self._free = asyncio.Event()
        self._free.set()

    def hold(self) -> None:
        """From now on nothing arrives."""
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    async def hold_snapshots(self) -> None:
        """From now on nobody hears what the store answers to a snapshot; one has been asked for."""
        self.snapshots_arrive.clear()
        await until(lambda: self.snapshots_held > 0, "a snapshot is on its way")

    def let_one_snapshot_arrive(self) -> None:
        """The one that is on its way."""
        self.snapshots_arrive.set()
        self.snapshots_arrive.clear()

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        """See scheduler.store.Store. Snapshots and reaping are other conversations than the ledger's."""
        if calls and calls[0].script in {Script.PREFIX_LOOK, Script.PREFIX_TOUCH, Script.PREFIX_BELIEVED}:
            return await self._run_prefixes(calls)
        if calls and calls[0].script in {Script.SNAPSHOT, Script.REAP}:
            self.reaps_asked += calls[0].script is Script.REAP
            if calls[0].script is Script.REAP:
                await self.may_reap.wait()
            await self._travel()
            replies = await self.store.run(calls)
            if calls[0].script is Script.SNAPSHOT:
                self.snapshots_held += 1
                await self.snapshots_arrive.wait()
                self.snapshots_held -= 1
            return replies
        self.batches.append([call.script for call in calls])
        self.most_keys = max([self.most_keys, *(len(call.keys) for call in calls)])
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self._travel()
            if self.refused.intersection(call.script for call in calls):
                raise self.refusal
            replies = await self.store.run(calls)
            await asyncio.sleep(0)
        finally:
            self._at_once -= 1
        if self.replies_to_lose:
            self.replies_to_lose -= 1
            raise StoreUnavailableError("the reply was lost")
        return replies

    async def _run_prefixes(self, calls: Sequence[Call]) -> list[Reply]:
        await self._travel()
        await self.index_answers.wait()
        if self.refused.intersection(call.script for call in calls):
            raise self.refusal
        self.prefixes.append([call.script for call in calls])
        return await self.store.run(calls)

    async def command(self, *words: Word) -> Reply:
        """See scheduler.store.Store."""
        await self._travel()
        return await self.store.command(*words)

    async def _travel(self) -> None:
        await asyncio.sleep(0)
        await self._free.wait()
        if self.is_down:
            raise StoreUnavailableError("the connection is closed")


class Scene:
    """A pool, its wire, and the agent of its ranks."""

    def __init__(self, settings: SchedulerSettings, *, policy: str = "least_requests", card_of: CardOf = card) -> None:
        self._card_of = card_of
        self.wire = Wire()
        self.keys = PoolKeys(MODEL)
        self.settings = settings
        self.agent = Reporter(self.wire.store, pool=MODEL, node="n", settings=settings, rng=Random(1))
        self.now_s = 0.0
        self.pool = Pool(
            MODEL,
            self.wire,
            rules(policy, "nixl"),
            gateway="g@host:1",
            settings=settings,
            rng=Random(2),
            clock=lambda: self.now_s,
        )

    async def report(self, *names: str, incarnation: str = "i1") -> None:
        await self.agent.report(
            [report(name, incarnation=incarnation) for name in names],
            {name: self._card_of(name, incarnation) for name in names},
        )

    async def place(self, count: int = 1) -> list[Place]:
        """So many placements at once."""
        decisions = await asyncio.gather(*(self.pool.place(SHAPE) for _ in range(count)))
        return [decision for decision in decisions if isinstance(decision, Place)]

    def batches_since(self, start: int) -> list[list[str]]:
        """What was told from the batch of this number on, without the renewals that go along."""
        told = [[str(script) for script in batch if script is not Script.RENEW] for batch in self.wire.batches[start:]]
        return [batch for batch in told if batch]

    async def is_exact(self) -> bool:
        """Whether the ledger holds just what the pool holds, and the sums of the ranks say so too."""
        now = await admin.status(self.wire.store, self.settings)
        on_ranks = {rank.rank: rank.reservations for rank in now.ranks if rank.reservations}
        live = self.pool._ledger.live
        legs = {name: load.requests for name, load in tally_of(live.values()).items() if load.requests}
        stored = {int(each) for gateway in await self._names() for each in await self._held(gateway)}
        return now.reservations == len(stored) and stored == set(live) and on_ranks == legs

    async def becomes_exact(self) -> None:
        await until(self.is_exact, "the ledger holds what the gateway holds")

    async def _names(self) -> list[bytes]:
        names: list[bytes] = await self.wire.store.command("HKEYS", self.keys.gate)
        return names

    async def _held(self, gateway: bytes) -> list[bytes]:
        held: list[bytes] = await self.wire.store.command("HKEYS", self.keys.live(gateway.decode()))
        return held


@asynccontextmanager
async def at_work(
    *ranks: str, settings: SchedulerSettings = SETTINGS, policy: str = "least_requests", card_of: CardOf = card
) -> AsyncIterator[Scene]:
    """A scene whose pool runs, has joined and has read of its ranks; it is told to end afterwards."""
    scene = Scene(settings, policy=policy, card_of=card_of)
    await scene.report(*ranks)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(scene.pool.run(), name="pool")
        await until(lambda: not scene.pool.degraded and bool(scene.pool.view.ranks), "the pool has joined")
        yield scene
        scene.wire.let_go()
        running.cancel()
