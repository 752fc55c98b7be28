"""A request that failed is placed anew: of its former reservation nothing is left, whatever becomes of the call."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from scheduler.decision import Place, Reject
from scheduler.lua import Script
from scheduler.messages import Phase
from tests.polling import until
from tests.samples import ask, single
from tests.scheduler.pair_scene import a_pair, on_its_way, to
from tests.scheduler.samples import SHAPE
from tests.scheduler.scene import HASTY, SETTINGS, Scene, at_work

RARELY = msgspec.structs.replace(SETTINGS, renew_ms=60_000)
"""No renewal is on its way when a test holds the wire."""


async def placed(scene: Scene) -> int:
    """A reservation of which the store knows."""
    (place,) = await scene.place()
    await scene.becomes_exact()
    return place.reservation


class TestAnswers:
    async def test_it_moves_in_one_call(self) -> None:
        async with at_work("a", "b", settings=RARELY) as scene:
            held = await placed(scene)
            start = len(scene.wire.batches)
            place = await scene.pool.place(SHAPE, instead_of=held)
            assert isinstance(place, Place)
            assert list(scene.pool._ledger.live) == [place.reservation]
            assert scene.batches_since(start) == [[Script.PLACE]]
            scene.pool.release(held)
            assert await scene.is_exact()
            assert scene.batches_since(start) == [[Script.PLACE]], "what is released already is not released again"

    async def test_its_own_load_does_not_drive_it_away(self) -> None:
        async with at_work("a", "b") as scene:
            scene.pool.advance((failed := (await scene.place(2))[0]).reservation, Phase.DISPATCHED)
            place = await scene.pool.place(SHAPE, instead_of=failed.reservation)
            assert isinstance(place, Place)
            assert place.legs[0].card.rank == failed.legs[0].card.rank, "the other rank has a request"
            await scene.becomes_exact()

    async def test_where_no_rank_is_left_it_is_given_back(self) -> None:
        async with at_work("a") as scene:
            held = await placed(scene)
            await scene.agent.goodbye()
            assert isinstance(await scene.pool.place(SHAPE, instead_of=held), Reject)
            assert scene.pool.reservations == 0
            await scene.becomes_exact()

    async def test_when_ranks_are_looked_up_once_more_its_own_load_does_not_drive_it_away(self) -> None:
        async with at_work("a", "b", settings=RARELY) as scene:
            failed = (await scene.place(2))[0]
            await scene.becomes_exact()
            await scene.agent.goodbye()
            await until(lambda: not scene.pool.view.ranks, "the ranks have gone")
            await scene.wire.hold_snapshots()
            await scene.report("a", "b")
            start = len(scene.wire.batches)
            scene.wire.snapshots_arrive.set()
            place = await scene.pool.place(SHAPE, instead_of=failed.reservation)
            assert isinstance(place, Place)
            assert place.legs[0].card.rank == failed.legs[0].card.rank
            await scene.becomes_exact()
            assert scene.batches_since(start) == [[Script.PLACE]]

    async def test_one_that_is_not_held_any_more_is_no_hindrance(self) -> None:
        async with at_work("a") as scene:
            held = await placed(scene)
            scene.pool.release(held)
            for former in (held, 404):
                assert isinstance(await scene.pool.place(SHAPE, instead_of=former), Place)
            assert scene.pool.reservations == 2
            await scene.becomes_exact()

    async def test_two_questions_for_one_reservation_give_it_back_once(self) -> None:
        async with at_work("a", "b") as scene:
            held = await placed(scene)
            await asyncio.gather(*(scene.pool.place(SHAPE, instead_of=held) for _ in range(2)))
            assert scene.pool.reservations == 2
            await scene.becomes_exact()

    async def test_a_state_that_was_yet_to_be_told_does_not_bring_it_back(self) -> None:
        async with at_work("a", "b", settings=RARELY) as scene:
            for phase in (Phase.DISPATCHED, Phase.PREFILL_DONE, Phase.FIRST_TOKEN):
                held = await placed(scene)
                scene.pool.advance(held, phase)
                assert isinstance(await scene.pool.place(SHAPE, instead_of=held), Place)
                await scene.becomes_exact()
            assert scene.pool.counters["resyncs"] == 0


class TestNoAnswer:
    async def test_alone_it_is_given_back_before_the_gateway_counts_its_own(self) -> None:
        async with at_work("a", "b") as scene:
            failed = (await scene.place(2))[0]
            scene.wire.is_down = True
            await until(lambda: scene.pool.degraded, "the loss was noticed")
            place = await scene.pool.place(SHAPE, instead_of=failed.reservation)
            assert isinstance(place, Place)
            assert (place.alone, scene.pool.reservations) == (True, 2)
            assert place.legs[0].card.rank == failed.legs[0].card.rank
            scene.wire.is_down = False
            await scene.becomes_exact()

    async def test_beyond_the_deadline_it_is_given_back_too(self) -> None:
        async with at_work("a", "b", settings=HASTY) as scene:
            held = await placed(scene)
            scene.wire.hold()
            place = await scene.pool.place(SHAPE, instead_of=held)
            assert isinstance(place, Place)
            assert (place.alone, list(scene.pool._ledger.live)) == (True, [place.reservation])
            scene.wire.let_go()
            await scene.becomes_exact()

    @pytest.mark.parametrize("is_away", [False, True], ids=["the reply alone", "the store"])
    async def test_what_is_lost_is_made_good(self, is_away: bool) -> None:
        async with at_work("a", "b") as scene:
            held = await placed(scene)
            scene.wire.replies_to_lose, scene.wire.is_down = 1, is_away
            assert isinstance(await scene.pool.place(SHAPE, instead_of=held), Place)
            assert scene.pool.reservations == 1
            scene.wire.is_down = False
            await scene.becomes_exact()

    async def test_a_question_that_never_left_has_it_released_all_the_same(self) -> None:
        hasty = msgspec.structs.replace(HASTY, renew_ms=60_000)
        async with at_work("a", "b", settings=hasty) as scene, asyncio.TaskGroup() as tasks:
            held = await placed(scene)
            start = len(scene.wire.batches)
            scene.wire.hold()
            first = tasks.create_task(scene.place(), name="first")
            await until(lambda: len(scene.batches_since(start)) == 1, "an exchange is under way")
            place = await scene.pool.place(SHAPE, instead_of=held)
            assert isinstance(place, Place)
            assert place.alone
            scene.wire.let_go()
            await first
            await scene.becomes_exact()
            assert Script.RELEASE in [script for batch in scene.batches_since(start) for script in batch]


class TestCancellation:
    async def test_cancelled_at_any_point_it_leaves_nothing(self) -> None:
        async with at_work("a", "b") as scene, asyncio.TaskGroup() as tasks:
            ended = 0
            for steps in range(40):
                (failed,) = await scene.place()
                asking = tasks.create_task(scene.pool.place(SHAPE, instead_of=failed.reservation), name="asking")
                for _ in range(steps):
                    await asyncio.sleep(0)
                if asking.done():
                    decision = asking.result()
                    assert isinstance(decision, Place)
                    scene.pool.release(decision.reservation)
                    ended += 1
                asking.cancel()
                await asyncio.wait([asking])
                if not steps:
                    scene.pool.release(failed.reservation)  # it never began
            await scene.becomes_exact()
            assert scene.pool.reservations == 0
            assert ended, "the last were not cancelled in time, so every point was struck"

    async def test_a_gateway_that_ends_meanwhile_gives_everything_back(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            async with at_work("a") as scene:
                held = await placed(scene)
                scene.wire.hold()
                asking = tasks.create_task(scene.pool.place(SHAPE, instead_of=held), name="asking")
                await asyncio.sleep(0.001)
            await asking
        assert await scene.is_exact()


async def test_a_pair_whose_decode_rank_is_being_asked_for_moves() -> None:
    async with a_pair() as pair, asyncio.TaskGroup() as tasks:
        asking = await on_its_way(pair, tasks)
        later = tasks.create_task(pair.ledger.rebind(pair.held, to("b")), name="asking again")
        await asyncio.sleep(0)
        moving = tasks.create_task(pair.ledger.place(ask(single("c")), pair.held), name="moving")
        await asyncio.sleep(0)
        pair.wire.let_go()
        answer = await moving
        assert (await asking, await later) == (None, None)
        assert answer is not None
        assert list(pair.ledger.live) == [answer.reservation_id]
        await pair.becomes_exact()
