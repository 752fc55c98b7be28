"""A pair's decode leg is asked for anew: answers, deadlines, losses, cancellation. What is held is what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from scheduler.decision import Ask, LegKind
from scheduler.ledger import Ledger
from scheduler.lua import Script
from scheduler.messages import Phase
from scheduler.reservation import Reservation, reserve
from scheduler.settings import SchedulerSettings
from tests.polling import until
from tests.samples import ask, leg, record
from tests.scheduler.scene import SETTINGS, Scene, at_work

RARELY = msgspec.structs.replace(SETTINGS, renew_ms=60_000)
"""No renewal is on its way when a test holds the wire."""
HASTY = msgspec.structs.replace(RARELY, place_deadline_ms=30)
PAIR = ask(prefills=(leg(LegKind.PREFILL, "a"),), decodes=(leg(LegKind.DECODE, "b"),), transfer_s={"a": {"a": 0.0}})
STAYED, MOVED = record(Phase.PREFILL_DONE, "p a", "d b"), record(Phase.PREFILL_DONE, "p a", "d c")


def to(*ranks: str) -> Ask:
    """The first is the cheapest."""
    return ask(decodes=tuple(leg(LegKind.DECODE, rank, float(place)) for place, rank in enumerate(ranks)))


class PairScene:
    """A scene in which one pair is placed on a and b."""

    def __init__(self, scene: Scene, held: int) -> None:
        self.wire, self.held, self._scene = scene.wire, held, scene
        self.ledger: Ledger = scene.pool._ledger

    @property
    def record(self) -> str:
        return self.ledger.live[self.held].record()

    def count(self, script: Script) -> int:
        return [each for batch in self.wire.batches for each in batch].count(script)

    async def is_exact(self) -> bool:
        stored: dict[int, str] = {}
        for name in await self._scene._names():
            cells = iter(await self.wire.store.command("HGETALL", self._scene.keys.live(name.decode())))
            stored |= {int(each): spelled.decode() for each, spelled in zip(cells, cells, strict=True)}
        return stored == {each: held.record() for each, held in self.ledger.live.items()}

    async def becomes_exact(self) -> None:
        await until(self.is_exact, "the ledger holds what the gateway holds")


@asynccontextmanager
async def a_pair(settings: SchedulerSettings = RARELY) -> AsyncIterator[PairScene]:
    async with at_work("a", "b", "c", settings=settings) as scene:
        while (placed := await scene.pool._ledger.place(PAIR)) is None:
            continue  # on a busy machine it may take longer than a hasty gateway waits
        pair = PairScene(scene, placed.reservation_id)
        pair.ledger.advance(pair.held, Phase.DISPATCHED)
        await pair.becomes_exact()
        yield pair
        scene.wire.let_go()
        await pair.becomes_exact()


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
            asking = await _on_its_way(pair, tasks)
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
            asking = await _on_its_way(pair, tasks)
            later = tasks.create_task(pair.ledger.rebind(pair.held, to("b")), name="asking again")
            await asyncio.sleep(0)
            later.cancel()
            await asyncio.wait([later])
            pair.wire.let_go()
            assert await asking is not None
            await until(lambda: pair.count(Script.ADVANCE) == 2, "what the later one left to tell was told")
            await pair.becomes_exact()
            assert pair.record == MOVED


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
            asking = await _on_its_way(pair, tasks)
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


async def _on_its_way(pair: PairScene, tasks: asyncio.TaskGroup) -> asyncio.Task[object]:
    """A question to move to c that the store has yet to hear."""
    pair.wire.hold()
    asking = tasks.create_task(pair.ledger.rebind(pair.held, to("c")), name="asking")
    await until(lambda: pair.count(Script.REBIND) == 1, "the question is on its way")
    return asking


def _ranks(reservation: Reservation | None) -> list[str]:
    return [] if reservation is None else [each.rank for each in reservation.legs]
