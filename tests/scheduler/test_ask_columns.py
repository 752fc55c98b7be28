"""What the scripts read of an ask; tests/contract shows that they read it right."""

from __future__ import annotations

from typing import Any

import msgspec

from scheduler.ask_columns import ask_json
from scheduler.decision import Ask, LegKind
from tests.samples import leg, single

FIELDS = 13
"""Before the columns."""


def columns(ask: Ask) -> list[list[Any]]:
    """What stands behind the fields, cut by the number of candidates."""
    told: list[Any] = msgspec.json.decode(ask_json(ask))
    candidates = told[4]
    return [told[start : start + candidates] for start in range(FIELDS, len(told), candidates)]


def test_candidates_stand_in_the_order_in_which_the_reply_counts_them() -> None:
    ask = Ask(
        prompt_tokens=10,
        output_tokens=5,
        singles=(single("a", 1.0),),
        prefills=(leg(LegKind.PREFILL, "b", 2.0, place_class="x"), leg(LegKind.PREFILL, "c", 3.0, place_class="y")),
        decodes=(leg(LegKind.DECODE, "d", 4.0, place_class="x"),),
        transfer_s={"x": {"x": 0.5}},
    )
    told = msgspec.json.decode(ask_json(ask))
    assert told[:FIELDS] == [10, 5, 1, 2, 4, {"x": {"x": 0.5}}, True, 1e-9, 0.0, False, False, False, False]
    ranks, lives, classes, base_s, *_ = columns(ask)
    assert ranks == ["a", "b", "c", "d"]
    assert lives == ["a i1", "b i1", "c i1", "d i1"]
    assert classes == ["", "x", "y", "x"]
    assert base_s == [1.0, 2.0, 3.0, 4.0]


def test_what_no_candidate_says_is_left_out() -> None:
    assert len(columns(Ask(prompt_tokens=1, output_tokens=1, singles=(single("a"),)))) == 9


def test_what_one_candidate_says_is_said_of_all() -> None:
    some = (single("a"), single("b", group="g", per_group_request_s=0.5, cap_requests=3))
    ask = Ask(prompt_tokens=1, output_tokens=1, singles=some)
    assert msgspec.json.decode(ask_json(ask))[FIELDS - 3 : FIELDS] == [True, True, True]
    groups, *group_prices, cap_queued, cap_requests = columns(ask)[9:]
    assert groups == ["-", "g"]
    assert group_prices == [[0.0, 0.0], [0.0, 0.5], [0.0, 0.0]]
    assert (cap_queued, cap_requests) == ([-1, -1], [-1, 3])
