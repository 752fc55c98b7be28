"""What gathers for the store, and how its answers are read."""

from __future__ import annotations

import asyncio
import itertools

import msgspec

from scheduler.ask_columns import ask_json
from scheduler.batch import Batch
from scheduler.calls import Head, Word
from scheduler.decision import Ask, LegKind, PricedRank
from scheduler.keys import PoolKeys
from scheduler.lua import Script
from scheduler.messages import Phase
from scheduler.pending import Pending, StoreAnswer
from scheduler.reservation import Reservation, reserve
from tests.samples import ask, single

KEYS = PoolKeys("m")
PLACED = reserve(ask(), (single("a"),))


def pending(reservation: int, asked: Ask | None = None) -> Pending:
    return Pending(reservation, asked or ask(single("a")), answer=asyncio.get_running_loop().create_future())


def told(batch: Batch) -> list[tuple[Script, tuple[Word, ...]]]:
    numbers = itertools.count(1)
    return [(call.script, call.args[3:]) for call in batch.calls(KEYS, lambda: Head("e1", 2_000, "g.1", next(numbers)))]


def at(phase: Phase) -> Reservation:
    return PLACED.at(phase)


async def test_states_come_first_then_releases_then_asks_each_with_its_number() -> None:
    batch = Batch()
    asked = pending(3)
    batch.place(asked)
    batch.release(2)
    batch.state(1, PLACED)
    assert told(batch) == [
        (Script.ADVANCE, (1, 1, PLACED.record())),
        (Script.RELEASE, (2, 2)),
        (Script.PLACE, (3, 3, ask_json(asked.ask), "")),
    ]


def test_a_later_state_replaces_an_earlier_one() -> None:
    batch = Batch()
    batch.state(1, at(Phase.DISPATCHED))
    batch.state(1, at(Phase.FIRST_TOKEN))
    assert told(batch) == [(Script.ADVANCE, (1, 1, at(Phase.FIRST_TOKEN).record()))]


def test_what_is_released_is_stated_no_more() -> None:
    batch = Batch()
    batch.state(1, PLACED)
    batch.release(1)
    assert told(batch) == [(Script.RELEASE, (1, 1))]


def test_a_prefill_that_was_done_is_told_before_the_release() -> None:
    batch = Batch()
    batch.state(1, at(Phase.FIRST_TOKEN))
    batch.release(1)
    assert [script for script, _ in told(batch)] == [Script.ADVANCE, Script.RELEASE]


def test_nothing_gathered_is_nothing_to_tell() -> None:
    assert told(Batch()) == []


async def test_draining_leaves_an_empty_batch_and_forgets_asks_nobody_awaits() -> None:
    batch = Batch()
    gone, waits = pending(1), pending(2)
    gone.answer.cancel()
    batch.asks += [gone, waits]
    batch.state(3, PLACED)
    assert [script for script, _ in told(batch.take())] == [Script.ADVANCE, Script.PLACE]
    assert told(batch) == []


async def test_abandoned_asks_are_answered_with_nothing() -> None:
    batch = Batch()
    waits, gone = pending(1), pending(2)
    gone.answer.cancel()
    batch.asks += [waits, gone]
    batch.abandon()
    assert await waits.answer is None
    assert batch.asks == []


async def test_a_placement_is_read_with_both_legs_and_the_loads_seen() -> None:
    prefill, decode = (
        msgspec.structs.replace(single(name), kind=kind)
        for name, kind in (("a", LegKind.PREFILL), ("b", LegKind.DECODE))
    )
    asked = ask(prefills=(prefill,), decodes=(decode,))
    rows = [b"60000", b"load", b"seen", b"", b"", b"", b""]
    placed = StoreAnswer.read(pending(7, asked), [b"place", b"1.25", 1, 2, b"[[5.5,1,20,30,0.5],false]", rows])
    assert placed.reservation == reserve(asked, (prefill, decode))
    assert (placed.reservation_id, placed.cost_s) == (7, 1.25)
    seen = PricedRank(
        rank="a", kind=LegKind.PREFILL, queued_tokens=5.5, requests=1, kv_tokens=20, report_age_ms=30, cost_s=0.5
    )
    assert placed.receipt == (seen,)
    assert (placed.legs, placed.rows) == ((1, 2), tuple(rows))


async def test_waiting_and_rejecting_hold_nothing() -> None:
    for word, waits in ((b"wait", True), (b"reject", False)):
        placed = StoreAnswer.read(pending(7), [word])
        assert (placed.reservation, placed.wait) == (None, waits)
