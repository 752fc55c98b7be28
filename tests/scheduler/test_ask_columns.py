"""What the scripts read of an ask; tests/contract shows that they read it right."""

from __future__ import annotations

from typing import Any

import msgspec

from scheduler.ask_columns import ask_json
from scheduler.decision import Ask, LegKind
from tests.samples import leg, single

RARE = {
    "groups",
    "per_group_queued_token_s",
    "per_group_request_s",
    "per_group_kv_token_s",
    "cap_queued_tokens",
    "cap_requests",
}


def columns(ask: Ask) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(ask_json(ask))
    return found


def test_candidates_stand_in_the_order_in_which_the_reply_counts_them() -> None:
    ask = Ask(
        prompt_tokens=10,
        output_tokens=5,
        singles=(single("a", 1.0),),
        prefills=(leg(LegKind.PREFILL, "b", 2.0, place_class="x"), leg(LegKind.PREFILL, "c", 3.0, place_class="y")),
        decodes=(leg(LegKind.DECODE, "d", 4.0, place_class="x"),),
        transfer_s={"x": {"x": 0.5}},
    )
    found = columns(ask)
    assert (found["singles"], found["prefills"]) == (1, 2)
    assert found["ranks"] == ["a", "b", "c", "d"]
    assert found["lives"] == ["a i1", "b i1", "c i1", "d i1"]
    assert found["place_classes"] == ["", "x", "y", "x"]
    assert found["base_s"] == [1.0, 2.0, 3.0, 4.0]
    assert found["transfer_s"] == {"x": {"x": 0.5}}


def test_what_no_candidate_says_is_left_out() -> None:
    assert not RARE & columns(Ask(prompt_tokens=1, output_tokens=1, singles=(single("a"),))).keys()


def test_what_one_candidate_says_is_said_of_all() -> None:
    some = (single("a"), single("b", group="g", per_group_request_s=0.5, cap_requests=3))
    found = columns(Ask(prompt_tokens=1, output_tokens=1, singles=some))
    assert found.keys() >= RARE
    assert found["groups"] == ["-", "g"]
    assert found["per_group_request_s"] == [0.0, 0.5]
    assert found["cap_requests"] == [-1, 3]
