"""What a gateway's own reservations add up to, and what is believed of a rank."""

from __future__ import annotations

import pytest

from scheduler.decision import LegKind
from scheduler.loads import Loads
from scheduler.messages import Phase
from scheduler.tally import believed, tally_of
from tests.scheduler.samples import held


@pytest.mark.parametrize(
    ("kind", "phase", "queued"),
    [
        (LegKind.WHOLE, Phase.PLACED, 60),
        (LegKind.WHOLE, Phase.DISPATCHED, 60),
        (LegKind.WHOLE, Phase.PREFILL_DONE, 0),
        (LegKind.WHOLE, Phase.FIRST_TOKEN, 0),
        (LegKind.DECODE, Phase.DISPATCHED, 0),
    ],
)
def test_a_reservation_queues_its_uncached_tokens_until_they_are_prefilled(
    kind: LegKind, phase: Phase, queued: int
) -> None:
    assert tally_of([held(kind, phase)]) == {"a": Loads(queued, 1, 110)}


@pytest.mark.parametrize(
    ("phase", "loads"),
    [
        (Phase.PLACED, Loads(60, 1, 100)),
        (Phase.DISPATCHED, Loads(60, 1, 100)),
        (Phase.PREFILL_DONE, Loads(0, 0, 100)),
        (Phase.FIRST_TOKEN, Loads(0, 0, 0)),
    ],
)
def test_a_prefill_rank_holds_a_prompt_until_it_was_fetched(phase: Phase, loads: Loads) -> None:
    assert tally_of([held(LegKind.PREFILL, phase)]) == {"a": loads}


def test_reservations_on_one_rank_add_up() -> None:
    both = [held(LegKind.WHOLE, Phase.PLACED), held(LegKind.WHOLE, Phase.FIRST_TOKEN)]
    assert tally_of([*both, held(LegKind.WHOLE, Phase.PLACED, "b")]) == {
        "a": Loads(60, 2, 220),
        "b": Loads(60, 1, 110),
    }


def test_what_was_placed_since_is_added_and_what_ended_since_taken_off() -> None:
    read = {"a": Loads(500, 5, 5_000), "b": Loads(0, 0, 0)}
    then, now = {"a": Loads(200, 2, 200)}, {"a": Loads(100, 1, 100), "b": Loads(60, 1, 110)}
    assert believed(read, then, now, {"a": 0, "b": 0}) == {"a": Loads(400, 4, 4_900), "b": Loads(60, 1, 110)}


def test_loads_are_never_believed_negative() -> None:
    assert believed({"a": Loads(1, 1, 1)}, {"a": Loads(9, 9, 9)}, {}, {"a": 9}) == {"a": Loads(0, 0, 0)}


def test_what_others_had_queued_is_computed_meanwhile_and_what_we_have_queued_is_known() -> None:
    read, then, now = {"a": Loads(500, 5, 0)}, {"a": Loads(200, 2, 0)}, {"a": Loads(100, 1, 0)}
    assert believed(read, then, now, {"a": 50}) == {"a": Loads(350, 4, 0)}
    assert believed(read, then, now, {"a": 10_000}) == {"a": Loads(100, 4, 0)}
