"""Pools that have a name and no ranks, or lost them: what they cost a gateway, and what it says of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.decision import Place
from scheduler.errors import SchedulerError, StoreRejectedError, StoreUnavailableError
from scheduler.keys import POOLS, PoolKeys
from scheduler.pools import REST_S
from scheduler.store import Store, open_store
from scheduler.vacant_pools import LOOKS
from tests.polling import until
from tests.samples import card, report
from tests.scheduler.later_pools import CountingStore, Later
from tests.scheduler.pools_at_work import reporter, running
from tests.scheduler.samples import SHAPE
from tests.servers import needs_redis, redis_server

NAMES = [f"old{number}" for number in range(400)]


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


@pytest.mark.parametrize("error", [StoreRejectedError("no permission"), StoreUnavailableError("its node is away")])
@pytest.mark.parametrize("withheld", ["head", "seen"])
def test_a_pool_that_cannot_be_read_keeps_no_gateway_from_serving_the_others(
    later: Later, error: SchedulerError, withheld: str
) -> None:
    later.wire.withheld[vars(PoolKeys("a"))[withheld]] = error
    for name in ("a", "m"):
        later.tell(name)
    later.start_anew()
    later.passes(4)
    assert (later.pools.ready, later.pools.names()) == (True, ["m"])


def test_a_gateway_that_can_read_none_of_the_pools_is_not_ready(later: Later) -> None:
    later.wire.withheld[PoolKeys("a").head] = StoreRejectedError("no permission")
    later.tell("a")
    later.start_anew()
    later.passes(4)
    assert not later.pools.ready
    later.wire.withheld.clear()
    later.passes(2)
    assert later.pools.ready
