"""A pair's decode leg is asked for anew, and answered. What is held is what is stored."""

from __future__ import annotations

import asyncio

import pytest

from scheduler.decision import LegKind
from scheduler.lua import Script
from scheduler.messages import Phase
from scheduler.reservation import Reservation, reserve
from tests.polling import until
from tests.samples import ask, leg
from tests.scheduler.pair_scene import MOVED, PAIR, STAYED, a_pair, on_its_way, to


class TestAnswers:
    async def test_the_cheapest_decode_leg_is_held_and_stored(self) -> None:
        async with a_pair() as pair:
            answer = await pair.ledger.rebind(pair.held, to("c", "b"))
            assert answer is not None
            assert answer.reservation == pair.ledger.live[pair.held]
            assert (answer.reservation_id, pair.record) == (pair.held, MOVED)
            assert await pair.is_exact()

    async def test_the_prefill_is_told_to_be_done_in_the_same_call(self) -> None:
        async with a_pair() as pair:
            before = pair.count(Script.ADVANCE)
            await pair.ledger.rebind(pair.held, to("b", "c"))
            assert pair.record == STAYED
            assert await pair.is_exact()
            assert pair.count(Script.ADVANCE) == before

    async def test_where_no_candidate_can_be_placed_on_it_keeps_its_leg(self) -> None:
        async with a_pair() as pair:
            answer = await pair.ledger.rebind(pair.held, to("x"))
            assert answer is not None
            assert answer.reservation is None
            assert pair.record == STAYED
            assert await pair.is_exact()

    async def test_one_that_is_not_held_is_not_asked_for(self) -> None:
        async with a_pair() as pair:
            assert await pair.ledger.rebind(404, to("c")) is None
            pair.ledger.release(pair.held)
            assert await pair.ledger.rebind(pair.held, to("c")) is None
            assert pair.count(Script.REBIND) == 0

    async def test_a_pair_that_was_placed_alone_is_told_of_before_it_is_rebound(self) -> None:
        async with a_pair() as pair:
            alone = pair.ledger.adopt(reserve(PAIR, (PAIR.prefills[0], PAIR.decodes[0])))
            answer = await pair.ledger.rebind(alone, to("c"))
            assert answer is not None
            assert pair.ledger.live[alone].record() == MOVED
            assert await pair.is_exact()

    async def test_a_placement_in_the_same_batch_sees_the_leg_that_moved(self) -> None:
        async with a_pair() as pair:
            asked = ask(*(leg(LegKind.WHOLE, rank, per_request_s=1.0) for rank in "bc"))
            rebound, placed = await asyncio.gather(pair.ledger.rebind(pair.held, to("c")), pair.ledger.place(asked))
            assert [Script.REBIND, Script.PLACE] in [batch[-2:] for batch in pair.wire.batches]
            assert rebound is not None
            assert placed is not None
            assert _ranks(placed.reservation) == ["b"]

    async def test_of_two_questions_at_once_the_later_is_asked(self) -> None:
        async with a_pair() as pair:
            first, second = await asyncio.gather(*(pair.ledger.rebind(pair.held, to(rank)) for rank in "bc"))
            assert first is None
            assert second is not None
            assert (pair.record, pair.count(Script.REBIND)) == (MOVED, 1)

    async def test_a_phase_that_comes_meanwhile_is_kept_with_the_new_leg(self) -> None:
        async with a_pair() as pair, asyncio.TaskGroup() as tasks:
            asking = await on_its_way(pair, tasks)
            pair.ledger.advance(pair.held, Phase.FIRST_TOKEN)
            pair.wire.let_go()
            assert await asking is not None
            await pair.becomes_exact()
            assert pair.record == MOVED.replace("2 ", "3 ", 1)

    @pytest.mark.parametrize(("to_rank", "kept"), [("c", MOVED), ("x", STAYED)])
    async def test_a_phase_that_comes_before_the_question_leaves_is_not_taken_back(
        self, to_rank: str, kept: str
    ) -> None:
        async with a_pair() as pair, asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(pair.ledger.rebind(pair.held, to(to_rank)), name="asking")
            await asyncio.sleep(0)
            pair.ledger.advance(pair.held, Phase.FIRST_TOKEN)
            assert await asking is not None
            await pair.becomes_exact()
            assert pair.record == kept.replace("2 ", "3 ", 1)

    async def test_a_later_question_given_up_does_not_overrule_the_answer_to_an_earlier_one(self) -> None:
        async with a_pair() as pair, asyncio.TaskGroup() as tasks:
            asking = await on_its_way(pair, tasks)
            later = tasks.create_task(pair.ledger.rebind(pair.held, to("b")), name="asking again")
            await asyncio.sleep(0)
            later.cancel()
            await asyncio.wait([later])
            pair.wire.let_go()
            assert await asking is not None
            await until(lambda: pair.count(Script.ADVANCE) == 2, "what the later one left to tell was told")
            await pair.becomes_exact()
            assert pair.record == MOVED


def _ranks(reservation: Reservation | None) -> list[str]:
    return [] if reservation is None else [each.rank for each in reservation.legs]
