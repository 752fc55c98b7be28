"""A pool that knows which ranks hold a prompt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from scheduler.decision import Place
from scheduler.lua import Script
from scheduler.messages import Phase
from scheduler.prefix_spans import REPORTS_TO_ASK
from tests.polling import until
from tests.scheduler.prefix_scene import joined, known, placed, prompt, tell, touches
from tests.scheduler.scene import SETTINGS, Scene


async def test_a_prompt_goes_where_its_beginning_is() -> None:
    async with known() as scene:
        first = await placed(scene, prompt(1, 2, 3))
        assert first[1] == 1_600
        assert await placed(scene, prompt(1, 2, 3, 4)) == (first[0], 600)
        assert await placed(scene, prompt(1, 2, 9)) == (first[0], 600)


async def test_what_is_held_whole_leaves_one_token_to_compute() -> None:
    async with known() as scene:
        shape = msgspec.structs.replace(prompt(1, 2), prompt_tokens=1_000)
        rank, _ = await placed(scene, shape)
        assert await placed(scene, shape) == (rank, 1)


@pytest.mark.parametrize("policy", ["forebay", "least_work"])
async def test_without_the_store_a_gateway_goes_by_what_it_remembers(policy: str) -> None:
    async with known(policy=policy) as scene:
        rank, _ = await placed(scene, prompt(1, 2, 3))
        scene.wire.is_down = True
        await until(lambda: scene.pool.degraded, "the store is missed")
        again = await placed(scene, prompt(1, 2, 3, 4))
        assert again == (rank, 600) if policy == "forebay" else again[1] == 2_100
    assert scene.pool.counters["placed_alone"] == 1


async def test_other_gateways_know_at_once() -> None:
    async with known() as scene:
        rank, _ = await placed(scene, prompt(1, 2, 3))
        async with a_later_gateway(scene) as other:
            assert await placed(other, prompt(1, 2, 3, 4)) == (rank, 600)


@asynccontextmanager
async def a_later_gateway(scene: Scene) -> AsyncIterator[Scene]:
    other = Scene(SETTINGS, policy="forebay")
    other.wire.store = scene.wire.store
    async with joined(other):
        yield other


@pytest.mark.parametrize(("found", "expected"), [(60_000, 100), (0, 60_100)])
async def test_what_an_engine_finds_decides_what_all_gateways_believe(found: int, expected: int) -> None:
    """A window is half of the 100,000 tokens that the cards say."""
    shape = prompt(*range(120))
    async with known() as scene:
        await placed(scene, shape)
        await tell(scene, 61_000)
        await scene.pool._snapshots.newer()
        place = await scene.pool.place(shape)
        assert isinstance(place, Place)
        assert scene.pool._ledger.live[place.reservation].uncached_tokens == 100
        scene.pool.advance(place.reservation, Phase.FIRST_TOKEN)
        scene.pool.release(place.reservation)
        assert scene.pool.counters["prefix_believed_tokens"] == 60_000
        await until(lambda: [Script.PREFIX_BELIEVED] in scene.wire.prefixes, "what was believed is told")
        for _ in range(REPORTS_TO_ASK + 1):
            await tell(scene, 61_000, found=found)
        async with a_later_gateway(scene) as other:
            assert (await placed(other, shape))[1] == expected


async def test_a_client_that_leaves_before_its_prompt_is_computed_counts_for_nothing() -> None:
    async with known() as scene:
        await placed(scene, prompt(1, 2, 3))
        await tell(scene, 2_000)
        await scene.pool._snapshots.newer()
        assert (await placed(scene, prompt(1, 2, 3)))[1] == 100
        assert scene.pool.counters["prefix_believed_tokens"] == 0


async def test_a_cache_that_has_been_filled_anew_is_forgotten() -> None:
    async with known() as scene:
        await placed(scene, prompt(1, 2, 3))
        await tell(scene, 10**6)
        await scene.pool._snapshots.newer()
        assert (await placed(scene, prompt(1, 2, 3)))[1] == 1_600


async def test_a_new_life_holds_nothing() -> None:
    async with known() as scene:
        await placed(scene, prompt(1, 2, 3))
        await tell(scene, 0, incarnation="i2")
        await scene.pool._snapshots.newer()
        assert (await placed(scene, prompt(1, 2, 3)))[1] == 1_600


@pytest.mark.parametrize(("odometer", "policy"), [(None, "forebay"), (0, "least_work")])
async def test_where_nothing_can_be_known_or_it_does_not_matter_nobody_writes(
    odometer: int | None, policy: str
) -> None:
    async with known(odometer=odometer, policy=policy) as scene:
        for _ in range(3):
            assert (await placed(scene, prompt(1, 2)))[1] == 1_100
        assert touches(scene) == []


async def test_a_prompt_without_blocks_is_not_looked_up() -> None:
    async with known() as scene:
        await placed(scene, prompt())
        assert not [batch for batch in scene.wire.prefixes if Script.PREFIX_LOOK in batch]


async def test_a_client_that_leaves_while_its_prompt_is_looked_up_holds_nothing() -> None:
    async with known() as scene:
        scene.wire.hold()
        asking = asyncio.get_running_loop().create_task(scene.pool.place(prompt(1, 2)), name="asking")
        await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        scene.wire.let_go()
        await scene.becomes_exact()
        assert scene.pool.reservations == 0
        assert (await placed(scene, prompt(1, 2)))[1] == 1_100


async def test_many_questions_travel_together() -> None:
    async with known() as scene:
        places = await asyncio.gather(*(scene.pool.place(prompt(1, number)) for number in range(2, 60)))
        assert all(isinstance(place, Place) for place in places)
        looks = [batch for batch in scene.wire.prefixes if Script.PREFIX_LOOK in batch]
        assert len(looks) < 10
