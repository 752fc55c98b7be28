"""Which ranks breakers leave out: never more than half of a role, the worst ones, and all gateways the same."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.breaker import OPEN_MS, UNPROBED_MS, Breaker
from scheduler.left_out import NONE, LeftOut, left_out
from scheduler.messages import RankState
from scheduler.rank_view import RankView
from tests.scheduler.samples import pd_rank, view

NOW = 1_000_000


def tripped(name: str, trips: int = 1, *, half_open: bool = False, state: RankState = RankState.UP) -> RankView:
    until_ms = NOW if half_open else NOW + OPEN_MS
    breaker = Breaker("i1", trips=trips, open_until_ms=until_ms)
    return msgspec.structs.replace(pd_rank(name, heard={"state": state}), breaker=breaker)


def out(*ranks: RankView, doubts: dict[str, int] | None = None, alone: bool = False) -> set[str]:
    return set(left_out(view(*ranks), doubts or {}, NOW, alone=alone).out)


def test_where_nothing_failed_nobody_is_left_out() -> None:
    assert left_out(view(pd_rank("m1"), pd_rank("m2")), {}, NOW) == NONE


def test_a_single_rank_of_a_role_is_never_left_out() -> None:
    assert out(tripped("m1")) == set()
    assert out(tripped("p1"), pd_rank("d1"), pd_rank("d2"), doubts={"p1": 9}) == set()


@pytest.mark.parametrize(("up", "most"), [(2, 1), (3, 1), (4, 2), (5, 2)])
def test_at_most_half_of_a_role_is(up: int, most: int) -> None:
    assert len(out(*(tripped(f"m{number}") for number in range(up)))) == most


def test_each_role_has_a_half_of_its_own() -> None:
    ranks = [tripped(name) for name in ("p1", "p2", "d1", "d2")]
    assert len(out(*ranks)) == 2
    assert len({name[0] for name in out(*ranks)}) == 2


def test_only_ranks_that_are_up_are_counted() -> None:
    down = tripped("m3", state=RankState.DOWN)
    assert out(tripped("m1"), pd_rank("m2"), down) == {"m1"}
    assert out(tripped("m1"), down) == set()


def test_the_least_bad_return() -> None:
    assert out(tripped("m1", 3), tripped("m2", 1), tripped("m3", 2), pd_rank("m4")) == {"m1", "m3"}
    assert out(tripped("m1", 3, half_open=True), tripped("m2", 1)) == {"m2"}


def test_half_open_ranks_are_left_out_but_by_a_gateway_that_is_alone() -> None:
    ranks = (tripped("m1", half_open=True), pd_rank("m2"))
    assert left_out(view(*ranks), {}, NOW) == LeftOut(frozenset({"m1"}), frozenset({"m1"}))
    assert out(*ranks, alone=True) == set()
    assert out(tripped("m1"), pd_rank("m2"), alone=True) == {"m1"}


def test_a_half_open_rank_that_had_to_return_still_waits_for_a_word() -> None:
    assert left_out(view(tripped("m1", half_open=True)), {}, NOW) == LeftOut(frozenset(), frozenset({"m1"}))


def test_own_doubts_have_what_is_left_of_the_half() -> None:
    ranks = [tripped("m1"), *map(pd_rank, ("m2", "m3", "m4"))]
    assert out(*ranks, doubts={"m2": 3, "m3": 5}) == {"m1", "m3"}
    assert out(*ranks, doubts={"m1": 9}) == {"m1"}


breakers = st.one_of(
    st.none(),
    st.builds(
        Breaker,
        incarnation=st.just("i1"),
        trips=st.integers(0, 5),
        open_until_ms=st.integers(NOW - UNPROBED_MS, NOW + 30_000),
    ),
)
pools = st.dictionaries(st.sampled_from([f"{role}{n}" for role in "mpd" for n in range(5)]), breakers, min_size=1)
doubted = st.dictionaries(st.sampled_from(["m0", "m1", "p0", "p1", "d0", "d1"]), st.integers(3, 9))


@given(pools, doubted, st.booleans())
def test_whatever_fails_half_of_each_role_stays(
    pool: dict[str, Breaker | None], doubts: dict[str, int], alone: bool
) -> None:
    ranks = [msgspec.structs.replace(pd_rank(name), breaker=breaker) for name, breaker in pool.items()]
    left, _ = left_out(view(*ranks), doubts, NOW, alone=alone)
    for role in "mpd":
        names = [name for name in pool if name[0] == role]
        assert sum(name in left for name in names) <= len(names) // 2
    shared = left_out(view(*reversed(ranks)), {}, NOW, alone=alone).out
    assert shared == left_out(view(*ranks), {}, NOW, alone=alone).out, "in whatever order they come"
    assert shared <= left, "what all leave out, each does"
