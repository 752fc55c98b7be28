"""Ranks that came back get requests little by little, and no others do."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from scheduler.breaker import RAMP_MS, Breaker
from scheduler.decision import UNLIMITED, LegKind
from scheduler.messages import RankState, Role
from scheduler.planning import plan
from scheduler.rank_view import RankView
from scheduler.slow_start import came_back, established, ramped
from tests.samples import single
from tests.scheduler.samples import PAIRABLE, SHAPE, pd_rank, rank, rules, view

NOW = 1_000_000
OLD = {Role.MIXED: NOW - RAMP_MS}


def back(which: RankView, ms_ago: int) -> RankView:
    return msgspec.structs.replace(which, breaker=Breaker("i1", back_ms=NOW - ms_ago))


@pytest.mark.parametrize(
    ("ms_ago", "requests", "queued_tokens"),
    [(0, 0, 0), (1_000, 0.8, 1_000), (5_000, 4, 5_000), (RAMP_MS, UNLIMITED, UNLIMITED), (-50, 0, 0)],
)
def test_caps_grow_with_the_time_until_there_are_none(ms_ago: int, requests: float, queued_tokens: float) -> None:
    candidate = ramped(single("a"), back(rank("a"), ms_ago), NOW)
    assert (candidate.cap_requests, candidate.cap_queued_tokens) == (requests, queued_tokens)


def test_a_policy_s_own_cap_stays_where_it_is_less() -> None:
    candidate = ramped(single("a", cap_requests=1, cap_queued_tokens=9_000), back(rank("a"), 5_000), NOW)
    assert (candidate.cap_requests, candidate.cap_queued_tokens) == (1, 5_000)


def test_an_ask_without_ranks_that_came_back_is_what_it_was() -> None:
    ranks = view(*(pd_rank(name) for name in ("m1", "p1", "d1")), pool_ms=NOW)
    closed = view(*(back(pd_rank(name), RAMP_MS) for name in ("m1", "p1", "d1")), pool_ms=NOW)
    asks = []
    for each in (ranks, closed):
        planned = plan(PAIRABLE, each, rules("forebay", "nixl"), pool_ms=NOW, turn=0, chance=Random(1))
        assert planned is not None
        asks.append(planned.ask)
    assert asks[0] == asks[1]


def test_all_legs_of_an_ask_have_the_caps() -> None:
    ranks = view(*(back(pd_rank(name), 5_000) for name in ("m1", "p1", "d1")), pool_ms=NOW)
    planned = plan(PAIRABLE, ranks, rules("forebay", "nixl"), pool_ms=NOW, turn=0, chance=Random(1))
    assert planned is not None
    candidates = (*planned.ask.singles, *planned.ask.prefills, *planned.ask.decodes)
    assert {each.kind for each in candidates} == set(LegKind)
    assert {each.cap_requests for each in candidates} == {128}


def test_a_life_that_was_not_there_or_not_up_came_back() -> None:
    before = view(rank("a"), rank("b", heard={"state": RankState.STALLED}), rank("c"), rank("d"), pool_ms=NOW - 250)
    after = view(
        before.ranks["a"],
        rank("b"),
        rank("c", incarnation="i2", heard={"incarnation": "i2"}),
        rank("d", heard={"heard_ms": 5}),
        rank("e"),
        rank("f", heard={"state": RankState.DOWN}),
        pool_ms=NOW,
    )
    assert [each.card.rank for each in came_back(before, after, OLD)] == ["b", "c", "e"]


def test_in_a_role_that_has_had_no_ranks_for_so_long_nobody_came_back() -> None:
    before, after = view(pool_ms=NOW - 250), view(rank("a"), pool_ms=NOW)
    assert came_back(before, after, established({}, after)) == []
    assert came_back(before, after, {Role.MIXED: NOW - RAMP_MS + 1}) == []


def test_a_role_whose_ranks_all_went_is_established_anew() -> None:
    since = established({}, view(rank("a"), pool_ms=5))
    assert since == {Role.MIXED: 5}
    since = established(since, view(rank("a"), pool_ms=90))
    assert since == {Role.MIXED: 5}
    assert established(since, view(rank("a", heard={"state": RankState.DOWN}), pool_ms=95)) == {}


def test_a_shape_is_priced_as_ever() -> None:
    slow = view(back(rank("a"), 100), rank("b"), pool_ms=NOW)
    planned = plan(SHAPE, slow, rules("least_work"), pool_ms=NOW, turn=0, chance=Random(1))
    assert planned is not None
    one, other = planned.ask.singles
    assert (one.base_s, one.per_request_s) == (other.base_s, other.per_request_s)
