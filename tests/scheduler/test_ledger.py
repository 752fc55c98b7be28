"""A gateway's conversation with the store: batches, deadlines, losses, cancellation."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from scheduler import calls
from scheduler.calls import Head
from scheduler.decision import Place
from scheduler.errors import SchedulerError, StoreRejectedError, StoreUnavailableError
from scheduler.lua import Script
from scheduler.messages import Phase
from tests.polling import until
from tests.scheduler.samples import SHAPE
from tests.scheduler.scene import SETTINGS, Scene, at_work

KEYS_OF_A_RESYNC = 9
HASTY = msgspec.structs.replace(SETTINGS, place_deadline_ms=30)


def batches_since(scene: Scene, start: int) -> list[list[str]]:
    """Batches without the renewals that go along."""
    told = [[str(script) for script in batch if script is not Script.RENEW] for batch in scene.wire.batches[start:]]
    return [batch for batch in told if batch]


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
            await until(lambda: bool(batches_since(scene, start)), "a batch left")
            await scene.becomes_exact()
            assert batches_since(scene, start) == [[Script.ADVANCE, Script.RELEASE]]

    async def test_asks_of_one_instant_share_a_batch(self) -> None:
        async with at_work("a", "b") as scene:
            start = len(scene.wire.batches)
            assert len(await scene.place(6)) == 6
            assert batches_since(scene, start) == [[Script.PLACE] * 6]

    async def test_one_batch_at_a_time_and_what_comes_meanwhile_goes_in_the_next(self) -> None:
        rarely = msgspec.structs.replace(SETTINGS, renew_ms=60_000)
        async with at_work("a", "b", settings=rarely) as scene, asyncio.TaskGroup() as tasks:
            await scene.place()  # the first renewal has gone along
            start = len(scene.wire.batches)
            scene.wire.hold()
            first = tasks.create_task(scene.place(), name="first")
            await until(lambda: len(batches_since(scene, start)) == 1, "the first batch is on its way")
            rest = [tasks.create_task(scene.place(), name="another") for _ in range(4)]
            await asyncio.sleep(0)
            scene.wire.let_go()
            assert len(await first) == 1
            assert [len(await each) for each in rest] == [1] * 4
            assert batches_since(scene, start) == [[Script.PLACE], [Script.PLACE] * 4]
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
            assert batches_since(scene, start) == [[Script.RELEASE]]


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


class TestReaping:
    async def test_no_placement_waits_until_a_dead_gateway_s_reservations_are_given_back(self) -> None:
        async with at_work("a", settings=HASTY) as scene:
            scene.wire.may_reap.clear()
            await _dies_holding(scene, {1: "0 100 100 10 m a i1 -"})
            await until(lambda: scene.wire.reaps_asked > 0, "the dead gateway is being reaped")
            placed = [(await scene.place())[0] for _ in range(5)]
            assert [place.alone for place in placed] == [False] * 5
            scene.wire.may_reap.set()
            await scene.becomes_exact()

    async def test_a_reap_that_failed_is_made_again(self) -> None:
        async with at_work("a") as scene:
            scene.wire.may_reap.clear()
            await _dies_holding(scene, {1: "0 100 100 10 m a i1 -"})
            await until(lambda: scene.wire.reaps_asked > 0, "the dead gateway is being reaped")
            scene.wire.is_down = True
            scene.wire.may_reap.set()
            await until(lambda: scene.pool.degraded, "the loss was noticed")
            scene.wire.is_down = False
            await scene.becomes_exact()


async def _dies_holding(scene: Scene, records: dict[int, str]) -> None:
    """Another gateway held these, and its lease has ended."""
    head = Head(scene.pool.view.epoch, SETTINGS.lease_ms, "dead@host:2.1", 1)
    await scene.wire.store.run([calls.resync(scene.keys, head, (), records)])
    await scene.wire.store.command("ZADD", scene.keys.lease, 0, head.gateway)
    scene.wire.store.now_ms += 100


async def _answered(scene: Scene) -> bool:
    (place,) = await scene.place()
    return not place.alone


class TestLoss:
    async def test_a_lost_store_degrades_at_once_and_its_return_makes_the_ledger_exact(self) -> None:
        async with at_work("a", "b") as scene:
            before = await scene.place(3)
            scene.wire.is_down = True
            await until(lambda: scene.pool.degraded, "the loss was noticed")
            alone = await scene.place(4)
            assert all(place.alone for place in alone)
            scene.pool.release(before[0].reservation)
            scene.pool.advance(alone[0].reservation, Phase.DISPATCHED)
            scene.wire.is_down = False
            await until(lambda: not scene.pool.degraded, "the store is used again")
            await scene.becomes_exact()
            assert scene.pool.reservations == 6
            assert scene.pool.counters["store_losses"] == 1

    async def test_asks_that_are_on_their_way_are_answered_alone(self) -> None:
        async with at_work("a") as scene, asyncio.TaskGroup() as tasks:
            scene.wire.hold()
            asking = tasks.create_task(scene.place(3), name="asking")
            await asyncio.sleep(0)
            scene.wire.is_down = True
            scene.wire.let_go()
            assert [place.alone for place in await asking] == [True] * 3
            scene.wire.is_down = False
            await scene.becomes_exact()

    @pytest.mark.parametrize("lost", [1, 2, 3, 4])
    async def test_lost_replies_leave_no_difference(self, lost: int) -> None:
        async with at_work("a", "b") as scene:
            before = await scene.place(3)
            scene.wire.replies_to_lose = lost
            scene.pool.advance(before[0].reservation, Phase.DISPATCHED)
            scene.pool.release(before[1].reservation)
            await scene.place(2)
            await until(lambda: scene.wire.replies_to_lose == 0, "all losses happened")
            await scene.becomes_exact()
            assert scene.pool.reservations == 4

    async def test_a_store_that_began_anew_is_rebuilt(self) -> None:
        async with at_work("a") as scene:
            await scene.place(3)
            scene.wire.store.data.clear()
            await until(lambda: scene.pool.counters["resyncs"] > 0, "the gateway noticed")
            await scene.report("a")
            await scene.becomes_exact()
            assert scene.pool.reservations == 3

    async def test_a_stale_replica_that_takes_over_is_corrected(self) -> None:
        async with at_work("a", "b") as scene:
            before = await scene.place(4)
            await scene.becomes_exact()
            stale = scene.wire.store.snapshot()
            for place in before[:2]:
                scene.pool.release(place.reservation)
            await scene.place(3)
            await scene.becomes_exact()
            scene.wire.store.data = stale
            await until(lambda: scene.pool.counters["resyncs"] > 0, "the gateway noticed")
            await scene.becomes_exact()
            assert scene.pool.reservations == 5

    @pytest.mark.parametrize("refusal", [StoreRejectedError("no permission"), StoreUnavailableError("no memory")])
    async def test_statements_that_fail_leave_no_names_behind(self, refusal: SchedulerError) -> None:
        async with at_work("a") as scene:
            await scene.place(3)
            await scene.becomes_exact()
            scene.wire.refusal = refusal
            scene.wire.refused = frozenset({Script.RESYNC, Script.RENEW})
            start = len(scene.wire.batches)
            await until(lambda: batches_since(scene, start).count([Script.RESYNC]) >= 9, "nine statements failed")
            scene.wire.refused = frozenset()
            await until(lambda: not scene.pool.degraded, "the store is used again")
            await scene.becomes_exact()
            assert scene.wire.most_keys <= KEYS_OF_A_RESYNC + 2, "the name it had and the last that failed"

    async def test_a_large_set_is_stated_in_pieces(self) -> None:
        async with at_work("a") as scene:
            scene.wire.is_down = True
            await until(lambda: scene.pool.degraded, "the loss was noticed")
            await scene.place(1_201)
            start = len(scene.wire.batches)
            scene.wire.is_down = False
            await until(lambda: not scene.pool.degraded, "the store is used again")
            await scene.becomes_exact()
            assert batches_since(scene, start).count([Script.RESYNC]) == 3


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
