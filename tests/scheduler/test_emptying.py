"""What is left on a drained rank: what gateways have placed, KV yet to be fetched, what its engine still has."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.draining import PooledRank
from scheduler.emptying import Emptying, Left
from scheduler.errors import StoreUnavailableError
from scheduler.messages import Phase, RankState
from scheduler.rows import newest_foreign
from tests.contract.conftest import virtual_world
from tests.contract.world import POOL, NumberedGateway, World, sample
from tests.polling import until
from tests.samples import card, record, report
from tests.scheduler.scene import SETTINGS, Scene, at_work

A = PooledRank("m", "a")


async def says(scene: Scene, **fields: Any) -> None:
    """The agent's next report of rank a, of a sample taken now."""
    scene.wire.store.now_ms += 100
    await scene.agent.report([report("a", **fields)], {"a": card("a")})


async def left_on(emptying: Emptying) -> str:
    return "; ".join(map(str, await emptying.look()))


class TestWhatIsLeft:
    async def test_first_what_gateways_have_placed_then_what_its_engine_has(self) -> None:
        async with at_work("a") as scene:
            held = [place.reservation for place in await scene.place(2)]
            emptying = Emptying(scene.wire.store, [A], SETTINGS)
            assert await left_on(emptying) == "a: 2 requests"
            scene.pool.release(held[0])
            await scene.becomes_exact()
            assert await left_on(emptying) == "a: 1 request"
            scene.pool.release(held[1])
            await scene.becomes_exact()
            assert await left_on(emptying) == "a: waiting for its engine to say that it is empty"
            await says(scene, running=1)
            assert await left_on(emptying) == "a: 1 in its engine that no gateway placed"
            await says(scene, waiting=2)
            assert await left_on(emptying) == "a: 2 in its engine that no gateway placed"
            await says(scene)
            assert await emptying.look() == []

    async def test_a_sample_from_before_it_was_free_says_nothing(self) -> None:
        async with at_work("a") as scene:
            (place,) = await scene.place()
            emptying = Emptying(scene.wire.store, [A], SETTINGS)
            scene.pool.release(place.reservation)
            await scene.becomes_exact()
            await emptying.look()
            await says(scene, age_ms=500)
            assert await left_on(emptying) == "a: waiting for its engine to say that it is empty"

    async def test_a_prefill_rank_is_not_empty_before_its_kv_is_fetched(self) -> None:
        world = virtual_world()
        await world.begin()
        await world.report(sample("a"), sample("b"))
        gateway = NumberedGateway(world)
        await gateway.join({1: record(Phase.PREFILL_DONE, "p a", "d b")})
        emptying = Emptying(world.store, [PooledRank(POOL, "a"), PooledRank(POOL, "b")], SETTINGS)
        assert await left_on(emptying) == "a: KV of 100 tokens that is yet to be fetched; b: 1 request"
        await gateway.advance({1: record(Phase.FIRST_TOKEN, "p a", "d b")})
        assert await self.after_a_report(world, emptying) == "b: 1 request"
        await gateway.release(1)
        await emptying.look()
        assert await self.after_a_report(world, emptying) == ""

    async def after_a_report(self, world: World, emptying: Emptying) -> str:
        await emptying.look()
        await world.elapse(100)
        await world.report(sample("a"), sample("b"))
        return await left_on(emptying)

    async def test_a_rank_that_went_down_has_nothing_left_but_what_gateways_have_yet_to_give_back(self) -> None:
        async with at_work("a") as scene:
            (place,) = await scene.place()
            emptying = Emptying(scene.wire.store, [A], SETTINGS)
            await says(scene, state=RankState.DOWN, running=1)
            assert await left_on(emptying) == "a: 1 request"
            scene.pool.release(place.reservation)
            await scene.becomes_exact()
            assert await emptying.look() == []

    async def test_of_a_rank_whose_agent_has_left_nobody_knows(self) -> None:
        async with at_work("a") as scene:
            emptying = Emptying(scene.wire.store, [A], SETTINGS)
            await scene.agent.goodbye()
            assert await left_on(emptying) == "a: its agent has left"
            await scene.report("a")
            assert await left_on(emptying) == "a: waiting for its engine to say that it is empty"
            await says(scene)
            assert await emptying.look() == []

    async def test_a_store_that_began_anew_is_waited_for(self) -> None:
        async with at_work("a") as scene:
            emptying = Emptying(scene.wire.store, [A], SETTINGS)
            for _ in range(20):  # to a pool time that the next epoch does not reach soon
                await says(scene, running=1)
            await emptying.look()
            scene.wire.store.data.clear()
            assert await left_on(emptying) == "a: its agent has left"
            await until(lambda: not scene.pool.degraded, "the pool began anew")
            for _ in range(2):
                await says(scene)
                await emptying.look()
            assert await emptying.look() == []

    async def test_a_store_that_is_away_is_told(self) -> None:
        async with at_work("a") as scene:
            scene.wire.is_down = True
            with pytest.raises(StoreUnavailableError):
                await Emptying(scene.wire, [A], SETTINGS).look()


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param("", 4, id="an older release's row"),
        pytest.param(" 10:1", 1, id="one sample"),
        pytest.param(" 10:-1,20:0,30:2@5/6/7/8", 2, id="several, and a prefix cache"),
        pytest.param(" @5", 4, id="a prefix cache alone"),
    ],
)
def test_the_newest_sample_counts(last: str, expected: int) -> None:
    assert newest_foreign(f"i1 up 0 30 4 0 1000 n/0a 30 1 3{last}") == expected


def test_nothing_is_left_of_a_rank_that_is_empty() -> None:
    assert Left(rank=A, in_engine=0).is_empty
    assert not Left(rank=A).is_empty
