"""Pools that have a name and no ranks, or lost them: what they cost a gateway, and what it says of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from scheduler.calls import Call, Reply, Word
from scheduler.decision import Place
from scheduler.errors import SchedulerError, StoreRejectedError, StoreUnavailableError
from scheduler.keys import POOLS, PoolKeys
from scheduler.pools import REST_S, Pools
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from scheduler.vacant_pools import LOOKS
from simulator.store import VirtualStore
from tests.invariants.virtual_loop import VirtualLoop
from tests.polling import until
from tests.samples import card, report
from tests.scheduler.pools_at_work import reporter, running
from tests.scheduler.samples import SHAPE
from tests.servers import needs_redis, redis_server

NAMES = [f"old{number}" for number in range(400)]


class CountingStore:
    """A store; how many conversations it had at once, and how many calls of scripts.

    Cut off while it `is_down`. `withheld`: the error that is answered to whoever asks for a key. Answers to plain
    commands come `late_s`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.most_at_once = self._at_once = 0
        self.calls = 0
        self.is_down = False
        self.withheld: dict[Word, SchedulerError] = {}
        self.late_s = 0.0

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        """See scheduler.store.Store."""
        self.calls += len(calls)
        self._withhold([key for call in calls for key in call.keys])
        async with self._conversation():
            return await self._store.run(calls)

    async def command(self, *words: Word) -> Reply:
        """See scheduler.store.Store."""
        self._withhold(words)
        async with self._conversation():
            reply = await self._store.command(*words)
            await asyncio.sleep(self.late_s)
            return reply

    def _withhold(self, words: Sequence[Word]) -> None:
        for word in words:
            if word in self.withheld:
                raise self.withheld[word]

    @asynccontextmanager
    async def _conversation(self) -> AsyncIterator[None]:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.is_down:
                raise StoreUnavailableError("the connection is closed")
            yield
        finally:
            self._at_once -= 1


async def tell(store: Store, pool: str, rank: str = "a") -> None:
    await reporter(store, pool).report([report(rank)], {rank: card(rank, model=pool)})


@needs_redis
async def test_hundreds_of_names_without_ranks_cost_no_placement(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server(tmp_path) as server:
        async with open_store(server.url) as direct:
            store = CountingStore(direct)
            await tell(direct, "m")
            await direct.command("SADD", POOLS, *NAMES[:200])
            async with running(store) as pools:
                await until(lambda: pools.names() == ["m"] and not pools.degraded, "the pool was found")
                await direct.command("SADD", POOLS, *NAMES[200:], "new")
                await tell(direct, "new")
                await until(lambda: pools.names() == ["m", "new"] and not pools.degraded, "the new pool was found")
                for name in ("m", "new"):
                    pool = pools.get(name)
                    assert pool is not None
                    decision = await pool.place(SHAPE)
                    assert isinstance(decision, Place)
                    assert not decision.alone
    assert store.most_at_once < 20
    assert caplog.records == []


class Later:
    """A gateway's pools on a store of their own, in virtual time; `tell` and `leave` are an agent's."""

    def __init__(self) -> None:
        self.store, self.loop = VirtualStore(), VirtualLoop()
        self.wire = CountingStore(self.store)
        self.pools = Pools(self.wire, life="g", address="h:1", settings=SchedulerSettings(), clock=self.loop.time)
        self._running = self.loop.create_task(self.pools.run(), name="pools")

    def tell(self, pool: str) -> Reporter:
        agent = reporter(self.store, pool)
        self.do(agent.report([report("a")], {"a": card("a", model=pool)}))
        return agent

    def do(self, deed: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(deed)

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.1)):
            self.do(asyncio.sleep(0.1))
            self.store.now_ms += 100
        assert not self._running.done()
        assert not self.loop.unhandled, self.loop.unhandled

    def close(self) -> None:
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            self.do(self._running)
        self.loop.close()


@pytest.fixture
def later() -> Iterator[Later]:
    scene = Later()
    yield scene
    scene.close()


def test_a_pool_that_lost_its_ranks_is_known_for_a_while(later: Later) -> None:
    agent = later.tell("m")
    later.passes(2)
    assert (later.pools.names(), later.pools.known("other")) == (["m"], None)
    later.do(agent.goodbye())
    later.passes(REST_S / 2)
    assert later.pools.get("m") is None
    assert (later.pools.names(), later.pools.known_names()) == ([], ["m"])
    assert later.pools.known("m")
    later.passes(REST_S)
    assert not later.pools.known("m")


def test_a_store_that_lost_what_it_heard_of_the_ranks_leaves_the_model_known(later: Later) -> None:
    later.tell("m")
    later.passes(2)
    later.do(later.store.command("DEL", PoolKeys("m").seen, POOLS))
    later.passes(5)
    assert later.pools.known("m")


def test_a_pool_that_ended_costs_nothing_and_begins_again_with_its_first_rank(later: Later) -> None:
    agent = later.tell("m")
    later.passes(2)
    later.do(agent.goodbye())
    later.passes(2 * REST_S)
    calls = later.wire.calls
    later.passes(10)
    assert later.wire.calls == calls
    later.tell("m")
    later.passes(2)
    assert (later.pools.names(), later.pools.degraded) == (["m"], False)


def test_a_pool_that_has_ranks_again_while_it_is_looked_at_keeps_its_reservations(later: Later) -> None:
    agent = later.tell("m")
    later.passes(2)
    later.do(agent.goodbye())
    later.passes(REST_S - 2)
    later.wire.late_s = 3.0
    later.passes(5)
    later.tell("m")
    later.passes(0.5)
    pool = later.pools.get("m")
    assert pool
    assert isinstance(later.do(pool.place(SHAPE)), Place)
    later.passes(8)
    assert later.pools.get("m") is pool
    assert later.pools.reservations == 1


def test_what_a_pool_counted_outlives_it(later: Later) -> None:
    agent = later.tell("m")
    later.passes(2)
    later.do(later.store.command("DEL", PoolKeys("m").head))
    later.do(agent.report([report("a")], {"a": card("a")}))
    later.passes(2)
    assert later.pools.counters["resyncs"] >= 1
    before = later.pools.counters["resyncs"]
    later.do(agent.goodbye())
    later.passes(2 * REST_S)
    assert not later.pools.known("m")
    assert later.pools.counters["resyncs"] >= before


def test_a_pool_of_which_nothing_can_be_read_is_kept_until_its_name_leaves(later: Later) -> None:
    later.do(later.store.command("SET", PoolKeys("m").head, "e1 1000000 1 1"))
    later.do(later.store.command("HSET", PoolKeys("m").seen, "a", "junk"))
    later.do(later.store.command("SADD", POOLS, "m"))
    later.passes(2 * REST_S)
    assert later.pools.known("m")
    later.do(later.store.command("DEL", POOLS))
    later.passes(2)
    assert not later.pools.known("m")


def test_of_many_names_each_has_its_turn(later: Later) -> None:
    later.do(later.store.command("SADD", POOLS, *NAMES))
    later.passes(2)
    later.tell(NAMES[0])
    later.tell(NAMES[-1])
    later.passes(len(NAMES) / LOOKS + 2)
    assert later.pools.names() == sorted([NAMES[0], NAMES[-1]])


@pytest.mark.parametrize("error", [StoreRejectedError("no permission"), StoreUnavailableError("its node is away")])
def test_a_pool_that_cannot_be_asked_about_hides_no_other(later: Later, error: SchedulerError) -> None:
    for name in ("a", "m"):
        later.tell(name)
    later.wire.withheld[PoolKeys("a").seen] = error
    later.passes(4)
    assert later.pools.names() == ["m"]
    later.tell("z")
    later.passes(2)
    assert later.pools.names() == ["m", "z"]
    later.wire.withheld.clear()
    later.passes(2)
    assert later.pools.names() == ["a", "m", "z"]


def test_a_store_that_is_away_is_complained_of_once_for_all_pools(
    later: Later, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        later.tell(name)
    later.passes(2)
    for _ in range(2):
        later.wire.is_down = True
        later.passes(5)
        later.wire.is_down = False
        later.passes(5)
    kept = [told for told in caplog.messages if told.startswith("keeping the last snapshot")]
    assert kept == 2 * ["keeping the last snapshot: the connection is closed"]
    assert later.pools.counters["snapshot_losses"] == 6
