"""From a pair whose prefill is done to what the store is asked of its decode rank."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from scheduler.decision import Candidate, LegKind
from scheduler.messages import Phase, RankState
from scheduler.planning import Plan
from scheduler.rank_view import RankView
from scheduler.rebinding import plan_rebinding
from scheduler.reservation import Reservation, ReservedLeg
from scheduler.rows import BookLoad
from scheduler.shortlist import cost_on
from scheduler.view import PoolView
from tests.scheduler.samples import pd_rank, rules, view

PROMPT, OUTPUT = 1_000, 100
OWN = BookLoad(requests=1, unseen_kv_tokens=PROMPT + OUTPUT)
"""What the pair itself weighs on its decode rank."""


def pair(prefill: str = "p1", decode: str = "d1") -> Reservation:
    legs = (ReservedLeg(LegKind.PREFILL, prefill, "i1", "-"), ReservedLeg(LegKind.DECODE, decode, "i1", "-"))
    return Reservation(
        phase=Phase.DISPATCHED, uncached_tokens=PROMPT, prompt_tokens=PROMPT, output_tokens=OUTPUT, legs=legs
    )


def planned(of: PoolView, *avoid: str, policy: str = "least_work", seed: int = 1) -> Plan | None:
    return plan_rebinding(pair(), of, rules(policy, "nixl"), pool_ms=0, chance=Random(seed), avoid=frozenset(avoid))


def asked(of: PoolView, *avoid: str, policy: str = "least_work") -> dict[str, Candidate]:
    result = planned(of, *avoid, policy=policy)
    assert result is not None
    assert (result.ask.singles, result.ask.prefills) == ((), ())
    assert {each.kind for each in result.ask.decodes} == {LegKind.DECODE}
    return {each.rank: each for each in result.ask.decodes}


def best(of: PoolView, *, policy: str = "least_work") -> str:
    return min(asked(of, policy=policy).values(), key=lambda each: cost_on(each, of.ranks[each.rank].loads(0))).rank


def d(number: int, requests: int = 0, **fields: Any) -> RankView:
    return pd_rank(f"d{number}", BookLoad(requests=requests), **fields)


def test_the_ask_carries_the_request() -> None:
    result = planned(view(pd_rank("p1"), d(1)))
    assert result is not None
    ask = result.ask
    assert (ask.prompt_tokens, ask.output_tokens) == (PROMPT, OUTPUT)
    assert set(result.ranks) == set(result.loads) == {"d1"}


@pytest.mark.parametrize("policy", ["least_work", "least_requests"])
def test_equal_ranks_do_not_swap_their_requests(policy: str) -> None:
    assert best(view(pd_rank("p1"), pd_rank("d1", OWN), d(2)), policy=policy) == "d1"
    one_more = BookLoad(requests=6, unseen_kv_tokens=PROMPT + OUTPUT)
    assert best(view(pd_rank("p1"), pd_rank("d1", one_more), d(2, 5)), policy=policy) == "d1"


@pytest.mark.parametrize("policy", ["least_work", "least_requests"])
def test_a_rank_with_a_request_less_is_better(policy: str) -> None:
    one_more = BookLoad(requests=6, unseen_kv_tokens=PROMPT + OUTPUT)
    assert best(view(pd_rank("p1"), pd_rank("d1", one_more), d(2, 4)), policy=policy) == "d2"


def test_a_pair_goes_on_with_no_decode_rank_of_a_shorter_context() -> None:
    pool = view(pd_rank("p1"), d(1, max_model_len=9_000), d(2, max_model_len=8_999), d(3, max_model_len=9_001))
    assert asked(pool).keys() == {"d1", "d3"}
    assert asked(view(pd_rank("p1"), d(2), d(3))).keys() == {"d2", "d3"}, "how long that of a lost rank was is unknown"


@pytest.mark.parametrize("policy", ["round_robin", "random"])
def test_policies_that_look_at_no_loads_stay_while_they_can(policy: str) -> None:
    busy = BookLoad(requests=200)
    for number in range(1, 4):
        others = [d(each) for each in range(1, 4) if each != number]
        pool = view(pd_rank("p1"), pd_rank("d1", busy), *others)
        assert best(pool, policy=policy) == "d1"
    assert set(asked(view(pd_rank("p1"), d(2), d(3)), policy=policy)) == {"d2", "d3"}


def test_what_the_request_weighs_itself_does_not_fill_its_rank() -> None:
    candidates = asked(view(pd_rank("p1"), pd_rank("d1", OWN), d(2)))
    assert candidates["d1"].cap_kv_tokens == candidates["d2"].cap_kv_tokens + PROMPT + OUTPUT
    no_caps = asked(view(pd_rank("p1"), pd_rank("d1", OWN), d(2)), policy="least_requests")
    assert no_caps["d1"].cap_kv_tokens == no_caps["d2"].cap_kv_tokens == -1


def test_a_rank_near_the_prefill_is_better_than_an_equal_one_far_away() -> None:
    ranks = [pd_rank("p1", labels={"zone": "a"}), d(2, labels={"zone": "b"}), d(3, labels={"zone": "a"})]
    assert best(view(*ranks)) == "d3"


def test_only_ranks_of_the_same_class_are_asked() -> None:
    pool = view(pd_rank("p1"), d(1), d(2, kv_geometry="other"), pd_rank("m1"), pd_rank("p2"))
    assert set(asked(pool)) == {"d1"}


@pytest.mark.parametrize(
    "gone",
    [
        pytest.param(None, id="not in the pool any more"),
        pytest.param(pd_rank("d1", heard={"state": RankState.DOWN}), id="down"),
        pytest.param(pd_rank("d1", heard={"drained": True}), id="drained"),
    ],
)
def test_where_the_rank_is_gone_others_are_asked(gone: RankView | None) -> None:
    others = [pd_rank("p1"), d(2), *([gone] if gone else [])]
    assert set(asked(view(*others))) == {"d2"}
    assert planned(view(pd_rank("p1"), *([gone] if gone else []))) is None


def test_a_rank_that_restarted_is_one_like_any_other() -> None:
    pool = view(pd_rank("p1"), pd_rank("d1", incarnation="i2"), d(2))
    candidates = asked(pool)
    assert (candidates["d1"].base_s, candidates["d1"].incarnation) == (candidates["d2"].base_s, "i2")


def test_a_rank_to_avoid_is_left_where_there_is_another() -> None:
    pool = view(pd_rank("p1"), d(1), d(2))
    assert set(asked(pool, "d1")) == {"d2"}
    assert set(asked(pool, "d1", "d2")) == {"d1", "d2"}


def test_without_its_prefill_rank_the_class_of_the_decode_rank_counts() -> None:
    assert set(asked(view(d(1), d(2), d(3, kv_geometry="other")))) == {"d1", "d2"}
    assert planned(view(d(2))) is None, "no word of either: nobody knows the class"


def test_of_many_the_own_rank_and_fifteen_others_are_asked() -> None:
    pool = view(pd_rank("p1"), *(d(number, 200 - number) for number in range(1, 150)))
    result = planned(pool)
    assert result is not None
    names = [each.rank for each in result.ask.decodes]
    assert len(names) == len(set(names)) == 16
    assert names[0] == "d1", "the busiest of all"
    assert {f"d{number}" for number in range(143, 150)} <= set(names)
    assert len(result.ranks) <= 81
