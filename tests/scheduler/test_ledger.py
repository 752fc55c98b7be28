"""A gateway's conversation with the store: batches, deadlines, cancellation."""

from __future__ import annotations

import asyncio

import msgspec

from scheduler.decision import Place
from scheduler.lua import Script
from scheduler.messages import Phase
from tests.polling import until
from tests.scheduler.samples import SHAPE
from tests.scheduler.scene import HASTY, SETTINGS, Scene, at_work


class TestBatches:
    async def test_what_gathers_goes_in_one_batch(self) -> None:
        async with at_work("a") as scene:
            held = [place.reservation for place in await scene.place(5)]
            start = len(scene.wire.batches)
            for reservation in held:
                scene.pool.advance(reservation, Phase.DISPATCHED)
                scene.pool.advance(reservation, Phase.PREFILL_DONE)
            for reservation in held[:2]:
                scene.pool.release(reservation)
            await until(lambda: bool(scene.batches_since(start)), "a batch left")
            await scene.becomes_exact()
            assert scene.batches_since(start) == [[Script.ADVANCE, Script.RELEASE]]

    async def test_asks_of_one_instant_share_a_batch(self) -> None:
        async with at_work("a", "b") as scene:
            start = len(scene.wire.batches)
            assert len(await scene.place(6)) == 6
            assert scene.batches_since(start) == [[Script.PLACE] * 6]

    async def test_one_batch_at_a_time_and_what_comes_meanwhile_goes_in_the_next(self) -> None:
        rarely = msgspec.structs.replace(SETTINGS, renew_ms=60_000)
        async with at_work("a", "b", settings=rarely) as scene, asyncio.TaskGroup() as tasks:
            await scene.place()  # the first renewal has gone along
            start = len(scene.wire.batches)
            scene.wire.hold()
            first = tasks.create_task(scene.place(), name="first")
            await until(lambda: len(scene.batches_since(start)) == 1, "the first batch is on its way")
            rest = [tasks.create_task(scene.place(), name="another") for _ in range(4)]
            await asyncio.sleep(0)
            scene.wire.let_go()
            assert len(await first) == 1
            assert [len(await each) for each in rest] == [1] * 4
            assert scene.batches_since(start) == [[Script.PLACE], [Script.PLACE] * 4]
            assert scene.wire.most_at_once == 1

    async def test_placements_of_one_batch_see_one_another(self) -> None:
        async with at_work("a", "b") as scene:
            ranks = [place.legs[0].card.rank for place in await scene.place(6)]
            assert sorted(ranks) == ["a"] * 3 + ["b"] * 3

    async def test_an_idle_gateway_only_renews(self) -> None:
        async with at_work("a") as scene:
            start = len(scene.wire.batches)
            await until(lambda: len(scene.wire.batches) >= start + 3, "three renewals")
            assert set(map(tuple, scene.wire.batches[start:])) == {(Script.RENEW,)}

    async def test_releasing_twice_or_the_unknown_tells_nothing(self) -> None:
        async with at_work("a") as scene:
            (place,) = await scene.place()
            start = len(scene.wire.batches)
            for reservation in (place.reservation, place.reservation, 404):
                scene.pool.release(reservation)
                scene.pool.advance(reservation, Phase.FIRST_TOKEN)
            await scene.becomes_exact()
            assert scene.batches_since(start) == [[Script.RELEASE]]


class TestDeadline:
    async def test_a_place_that_is_not_answered_in_time_is_made_alone(self) -> None:
        async with at_work("a", settings=HASTY) as scene:
            scene.wire.hold()
            (place,) = await scene.place()
            assert (place.alone, place.legs[0].card.rank) == (True, "a")
            assert scene.pool.counters["place_misses"] == 1
            assert not scene.pool.degraded
            scene.wire.let_go()
            await scene.becomes_exact()
            assert scene.pool.reservations == 1, "the late answer was given back"

    async def test_three_misses_in_a_row_degrade_the_pool_and_an_answer_heals_it(self) -> None:
        async with at_work("a", settings=HASTY) as scene:
            scene.wire.hold()
            for misses in (1, 2, 3):
                assert not scene.pool.degraded
                await scene.place()
                assert scene.pool.counters["place_misses"] == misses
            assert scene.pool.degraded
            await scene.place(3)
            assert scene.pool.counters["place_misses"] == 3, "nobody waits for a store that does not answer"
            assert scene.pool.counters["placed_alone"] == 6
            scene.wire.let_go()
            await until(lambda: not scene.pool.degraded, "the pool healed")
            await scene.becomes_exact()
            assert scene.pool.reservations == 6

    async def test_misses_with_answers_between_do_not_degrade(self) -> None:
        async with at_work("a", settings=HASTY) as scene:
            for _ in range(3):
                scene.wire.hold()
                await scene.place()
                scene.wire.let_go()
                await until(lambda: _answered(scene), "an answer in time")
            assert not scene.pool.degraded


async def _answered(scene: Scene) -> bool:
    (place,) = await scene.place()
    return not place.alone


class TestCancellation:
    async def test_a_place_cancelled_at_any_point_leaves_nothing(self) -> None:
        async with at_work("a") as scene, asyncio.TaskGroup() as tasks:
            ended = 0
            for steps in range(40):
                asking = tasks.create_task(scene.pool.place(SHAPE), name="asking")
                for _ in range(steps):
                    await asyncio.sleep(0)
                if asking.done():
                    decision = asking.result()
                    assert isinstance(decision, Place)
                    scene.pool.release(decision.reservation)
                    ended += 1
                asking.cancel()
            await scene.becomes_exact()
            assert scene.pool.reservations == 0
            assert ended, "the last were not cancelled in time, so every point was struck"

    async def test_cancelled_asks_of_one_batch_do_not_harm_the_others(self) -> None:
        async with at_work("a") as scene, asyncio.TaskGroup() as tasks:
            scene.wire.hold()
            asking = [tasks.create_task(scene.pool.place(SHAPE), name="asking") for _ in range(9)]
            await asyncio.sleep(0.001)
            for each in asking[::2]:
                each.cancel()
            scene.wire.let_go()
            assert [type(await each) for each in asking[1::2]] == [Place] * 4
            await scene.becomes_exact()
            assert scene.pool.reservations == 4
