"""A pool whose prefix index is slow, gone, full or forbidden: requests are placed as if nobody held anything."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from scheduler.contact import MISSES_TO_DEGRADE
from scheduler.decision import LegKind, Place
from scheduler.errors import StoreFullError, StoreRejectedError
from scheduler.keys import PoolKeys
from scheduler.lua import Script
from scheduler.messages import Phase
from scheduler.prefix_holders import nothing_held
from scheduler.prefix_index import MOST_UNTOLD, Found, PrefixIndex
from scheduler.view import PoolView
from tests.polling import until
from tests.scheduler.prefix_scene import known, placed, prompt, tell, touches
from tests.scheduler.samples import held
from tests.scheduler.scene import HASTY, SETTINGS, Scene, Wire


async def test_without_an_answer_in_time_nothing_is_held() -> None:
    async with known(HASTY) as scene:
        scene.wire.hold()
        place = await scene.pool.place(prompt(1, 2))
        assert isinstance(place, Place)
        assert place.alone
        assert scene.pool.counters["prefix_misses"] == 1
        scene.wire.let_go()
        await until(lambda: not scene.pool.degraded, "the store is asked again")
        assert not (await scene.pool.place(prompt(1, 2))).alone  # type: ignore[union-attr]


@pytest.mark.parametrize("script", [Script.PREFIX_LOOK, Script.PREFIX_TOUCH])
async def test_a_store_that_refuses_the_index_places_without(script: Script) -> None:
    async with known() as scene:
        scene.wire.refused, scene.wire.refusal = frozenset({script}), StoreRejectedError("no permission")
        for _ in range(2):
            assert (await placed(scene, prompt(1, 2)))[1] == 1_100
        await until(lambda: scene.pool.counters["prefix_losses"] > 0, "the refusal is counted")
        assert not scene.pool.degraded


async def test_nobody_waits_for_an_index_that_has_ended() -> None:
    wire = Wire()
    wire.hold()
    index = PrefixIndex(wire, PoolKeys("m"), msgspec.structs.replace(SETTINGS, place_deadline_ms=60_000))
    running = asyncio.get_running_loop().create_task(index.run(), name="index")
    asking = [asyncio.get_running_loop().create_task(index.look_up(prompt(1), PoolView()), name="asking")]
    await asyncio.sleep(0.01)
    asking.append(asyncio.get_running_loop().create_task(index.look_up(prompt(2), PoolView()), name="asking too"))
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [found.held for found in await asyncio.gather(*asking)] == [nothing_held()] * 2


async def test_an_index_that_does_not_answer_costs_three_requests_their_deadline() -> None:
    async with known(msgspec.structs.replace(SETTINGS, place_deadline_ms=150)) as scene:
        await placed(scene, prompt(1, 2))
        scene.wire.index_answers.clear()
        for number in range(40):
            place = await scene.pool.place(prompt(1, 2, number))
            assert isinstance(place, Place)
            assert not place.alone
            scene.pool.release(place.reservation)
        counters = scene.pool.counters
        assert (counters["prefix_misses"], counters["prefix_unasked"]) == (MISSES_TO_DEGRADE, 40 - MISSES_TO_DEGRADE)
        assert not scene.pool.degraded
        scene.wire.index_answers.set()

        async def is_asked_again() -> bool:
            return (await placed(scene, prompt(1, 2)))[1] == 100

        await until(is_asked_again, "the index is asked again")


async def test_while_the_store_has_no_memory_nobody_writes_prefixes_down() -> None:
    async with known() as scene:
        await placed(scene, prompt(1, 2))
        await until(lambda: len(touches(scene)) == 1, "the index is told")
        scene.wire.refused, scene.wire.refusal = frozenset({Script.PREFIX_TOUCH}), StoreFullError("full")
        await placed(scene, prompt(3, 4))
        await until(lambda: scene.pool.counters["prefix_fulls"] == 1, "the refusal is counted")
        scene.wire.refused = frozenset()
        for _ in range(5):
            assert (await placed(scene, prompt(3, 4)))[1] == 1_100
        assert len(touches(scene)) == 1
        assert (await placed(scene, prompt(1, 2)))[1] == 100, "it is read all the same"
        assert not scene.pool.degraded


async def placed_by_belief(scene: Scene) -> Place:
    """A prompt that a rank is believed to hold since it was there before."""
    await placed(scene, prompt(1, 2, 3))
    await until(lambda: len(touches(scene)) == 1, "the index is told")
    await tell(scene, 2_000)
    await scene.pool._snapshots.newer()
    place = await scene.pool.place(prompt(1, 2, 3))
    assert isinstance(place, Place)
    return place


async def test_what_was_believed_waits_until_the_store_has_memory() -> None:
    async with known() as scene:
        place = await placed_by_belief(scene)
        await until(lambda: len(touches(scene)) == 2, "the index is told again")
        scene.pool.advance(place.reservation, Phase.PREFILL_DONE)
        scene.wire.refused = frozenset({Script.PREFIX_TOUCH, Script.PREFIX_BELIEVED})
        scene.wire.refusal = StoreFullError("full")
        await scene.pool.place(prompt(4, 5))
        await until(lambda: scene.pool.counters["prefix_fulls"] > 0, "the refusal is counted")
        assert scene.pool._prefixes._beliefs.take()


async def test_of_words_that_cannot_be_told_the_oldest_are_forgotten() -> None:
    async with known() as scene:
        scene.wire.index_answers.clear()
        index, rank = scene.pool._prefixes, scene.pool.view.ranks["a"]
        reservation = held(LegKind.WHOLE, Phase.PLACED)
        for number in range(MOST_UNTOLD + 5):
            index.placed(Found(nothing_held(), (str(number),)), number, reservation, {"a": rank})
        waiting = [key for key, _ in index._untold]
        assert waiting == [str(number) for number in range(5, MOST_UNTOLD + 5)]


async def test_a_request_that_is_given_back_leaves_nothing_to_be_believed() -> None:
    async with known() as scene:
        place = await placed_by_belief(scene)
        beliefs = scene.pool._prefixes._beliefs
        assert list(beliefs._open) == [place.reservation]
        scene.pool.release(place.reservation)
        assert not beliefs._open
