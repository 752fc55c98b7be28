"""A pair's decode leg is asked for anew and no answer comes, or nobody waits for it. What is held is what is stored."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from scheduler.decision import LegKind
from scheduler.lua import Script
from scheduler.messages import Phase
from scheduler.reservation import reserve
from tests.polling import until
from tests.samples import leg
from tests.scheduler.pair_scene import MOVED, PAIR, RARELY, STAYED, a_pair, on_its_way, to

HASTY = msgspec.structs.replace(RARELY, place_deadline_ms=30)


class TestWithoutTheStore:
    async def test_a_leg_can_be_bound_without_asking(self) -> None:
        async with a_pair() as pair:
            pair.ledger.bind(pair.held, leg(LegKind.DECODE, "c"))
            assert pair.record == MOVED
            pair.ledger.bind(404, leg(LegKind.DECODE, "c"))
            assert list(pair.ledger.live) == [pair.held]

    async def test_an_answer_beyond_the_deadline_is_none_and_overruled(self) -> None:
        async with a_pair(HASTY) as pair:
            misses = pair.ledger.counters["place_misses"]
            pair.wire.hold()
            assert await pair.ledger.rebind(pair.held, to("c")) is None
            assert pair.record == STAYED
            assert pair.ledger.counters["place_misses"] == misses + 1
            pair.wire.let_go()
            await until(lambda: pair.count(Script.ADVANCE) == 2, "the own idea was stated again")
            await pair.becomes_exact()
            assert pair.record == STAYED

    async def test_a_leg_bound_after_the_deadline_overrules_the_late_answer(self) -> None:
        async with a_pair(HASTY) as pair:
            pair.wire.hold()
            assert await pair.ledger.rebind(pair.held, to("b")) is None
            pair.ledger.bind(pair.held, leg(LegKind.DECODE, "c"))
            pair.wire.let_go()
            await until(lambda: pair.count(Script.ADVANCE) == 2, "the own idea was stated again")
            await pair.becomes_exact()
            assert pair.record == MOVED

    async def test_a_question_whose_deadline_passed_while_it_waited_is_never_sent(self) -> None:
        async with a_pair(HASTY) as pair, asyncio.TaskGroup() as tasks:
            pair.wire.hold()
            tasks.create_task(pair.ledger.place(PAIR), name="another batch")
            await until(lambda: pair.wire.batches[-1][-1] is Script.PLACE, "a batch is on its way")
            assert await pair.ledger.rebind(pair.held, to("c")) is None
            pair.wire.let_go()
            await until(lambda: pair.count(Script.ADVANCE) == 2, "the prefill was told to be done")
            await pair.becomes_exact()
            assert (pair.record, pair.count(Script.REBIND)) == (STAYED, 0)

    @pytest.mark.parametrize("lost", [1, 2, 3])
    async def test_a_lost_reply_leaves_no_difference(self, lost: int) -> None:
        async with a_pair() as pair:
            pair.wire.replies_to_lose = lost
            assert await pair.ledger.rebind(pair.held, to("c")) is None
            await until(lambda: pair.wire.replies_to_lose == 0, "all losses happened")
            await pair.becomes_exact()
            assert pair.record == STAYED

    async def test_a_store_that_began_anew_is_told_of_it_and_asked_nothing(self) -> None:
        async with a_pair() as pair:
            pair.wire.store.data.clear()
            assert await pair.ledger.rebind(pair.held, to("c")) is None
            await pair.becomes_exact()
            assert pair.record == STAYED

    async def test_a_store_that_lost_the_reservation_is_told_of_it_again(self) -> None:
        async with a_pair() as pair:
            del pair.wire.store.data[next(key for key in pair.wire.store.data if b":live:" in key)]
            assert await pair.ledger.rebind(pair.held, to("c")) is None
            await pair.becomes_exact()
            assert pair.record == STAYED


class TestGivenUp:
    async def test_cancelled_at_any_point_it_is_prefilled_and_as_stored(self) -> None:
        async with a_pair() as pair, asyncio.TaskGroup() as tasks:
            ended = 0
            for steps in range(40):
                alone = pair.ledger.adopt(reserve(PAIR, (PAIR.prefills[0], PAIR.decodes[0])))
                asking = tasks.create_task(pair.ledger.rebind(alone, to("c")), name="asking")
                for _ in range(steps):
                    await asyncio.sleep(0)
                ended += asking.done()
                asking.cancel()
                await asyncio.wait([asking])
                assert pair.ledger.live[alone].phase is (Phase.PREFILL_DONE if steps else Phase.PLACED)
            await pair.becomes_exact()
            assert ended, "the last were not cancelled in time, so every point was struck"

    async def test_released_before_it_was_sent_it_is_never_sent(self) -> None:
        async with a_pair() as pair, asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(pair.ledger.rebind(pair.held, to("c")), name="asking")
            await asyncio.sleep(0)
            pair.ledger.release(pair.held)
            assert await asking is None
            await pair.becomes_exact()
            assert (pair.ledger.live, pair.count(Script.REBIND)) == ({}, 0)
            assert pair.wire.batches[-1][-2:] == [Script.ADVANCE, Script.RELEASE], "the next prompt runs since"

    async def test_released_on_its_way_it_is_no_more(self) -> None:
        async with a_pair() as pair, asyncio.TaskGroup() as tasks:
            asking = await on_its_way(pair, tasks)
            pair.ledger.release(pair.held)
            pair.wire.let_go()
            assert await asking is None
            await pair.becomes_exact()
            assert pair.ledger.live == {}

    @pytest.mark.parametrize("steps", range(8))
    async def test_cancelled_and_released_it_is_no_more(self, steps: int) -> None:
        async with a_pair() as pair, asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(pair.ledger.rebind(pair.held, to("c")), name="asking")
            for _ in range(steps):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            pair.ledger.release(pair.held)
            await pair.becomes_exact()
            assert pair.ledger.live == {}
