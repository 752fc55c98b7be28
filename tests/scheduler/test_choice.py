"""Which ranks a request may go to."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pytest

from scheduler.choice import Choice, choose, decoding, missing
from scheduler.placeable import Placeable
from scheduler.view import PoolView
from tests.scheduler.samples import PAIRABLE, SHAPE, pd_rank, view

NIXL = frozenset({"nixl"})
SILENT = {"heard_ms": 0}
HEARD = {"heard_ms": 60_000}


def names(ranks: Placeable) -> set[str]:
    return {each.card.rank for each in ranks.ranks}


def pairs(choice: Choice) -> list[tuple[set[str], set[str]]]:
    return [(names(pair.prefill), names(pair.decode)) for pair in choice.pairs]


def chosen(of: PoolView, *avoid: str, connectors: frozenset[str] = NIXL) -> Choice:
    return choose(PAIRABLE, of, connectors, frozenset(avoid))


def test_ranks_are_told_apart_by_their_roles() -> None:
    choice = chosen(view(*map(pd_rank, ("m1", "p1", "p2", "d1"))))
    assert (names(choice.mixed), names(choice.decode)) == ({"m1"}, {"d1"})
    assert pairs(choice) == [({"p1", "p2"}, {"d1"})]


@pytest.mark.parametrize(
    "fields", [{"connector": "mooncake"}, {"engine_version": "0.33.0"}, {"kv_geometry": "other"}], ids=str
)
def test_ranks_pair_only_where_connector_version_and_geometry_agree(fields: dict[str, Any]) -> None:
    choice = chosen(view(pd_rank("p1"), pd_rank("d1", **fields)), connectors=frozenset({"nixl", "mooncake"}))
    assert (names(choice.decode), choice.pairs) == ({"d1"}, [])


def test_each_class_pairs_with_itself() -> None:
    new: dict[str, Any] = {"engine_version": "0.33.0"}
    choice = chosen(
        view(pd_rank("p1"), pd_rank("d1"), pd_rank("p2", **new), pd_rank("d2", **new), pd_rank("d3", **new))
    )
    assert pairs(choice) == [({"p1"}, {"d1"}), ({"p2"}, {"d2", "d3"})]


def test_only_connectors_that_the_gateway_speaks_are_paired() -> None:
    pool = view(pd_rank("p1"), pd_rank("d1"))
    assert chosen(pool, connectors=frozenset()).pairs == []
    assert chosen(view(pd_rank("p1", connector=""), pd_rank("d1", connector=""))).pairs == []


def test_a_request_that_cannot_be_split_is_not_paired() -> None:
    choice = choose(SHAPE, view(pd_rank("p1"), pd_rank("d1")), NIXL, frozenset())
    assert (names(choice.decode), choice.pairs) == ({"d1"}, [])


def pool_of(heard: str, silent: str) -> PoolView:
    ranks = [pd_rank(name, heard=HEARD) for name in heard.split()]
    return view(*ranks, *(pd_rank(name, heard=SILENT) for name in silent.split()), pool_ms=60_000)


def test_a_few_silent_ranks_are_left_out() -> None:
    assert pairs(chosen(pool_of("p1 p2 p3 d1 d2 d3", "p4 d4"))) == [({"p1", "p2", "p3"}, {"d1", "d2", "d3"})]
    assert names(chosen(pool_of("m1 m2 d1", "m3")).mixed) == {"m1", "m2"}


def test_many_silent_ranks_are_taken_for_the_others_could_not_carry_all() -> None:
    assert pairs(chosen(pool_of("p1 p2 d1 d2", "p3 d3"))) == [({"p1", "p2", "p3"}, {"d1", "d2", "d3"})]
    assert pairs(chosen(pool_of("d1", "p1 p2"))) == [({"p1", "p2"}, {"d1"})]


def test_many_silent_ranks_are_left_out_beside_one_that_failed() -> None:
    pool = pool_of("p1 p2 d1 d2", "p3 p4 d3 d4")
    assert pairs(chosen(pool, "p3")) == [({"p1", "p2"}, {"d1", "d2", "d3", "d4"})]
    assert pairs(chosen(pool, "d1")) == [({"p1", "p2", "p3", "p4"}, {"d2"})]


def test_an_avoided_prefill_rank_is_done_without() -> None:
    pool = view(*map(pd_rank, ("p1", "p2", "d1")))
    assert pairs(chosen(pool, "p1")) == [({"p2"}, {"d1"})]
    choice = chosen(pool, "p1", "p2")
    assert (names(choice.decode), choice.pairs) == ({"d1"}, [])


def test_an_avoided_decode_rank_is_taken_only_where_no_other_rank_can_answer() -> None:
    pool = view(*map(pd_rank, ("p1", "d1", "d2")))
    assert pairs(chosen(pool, "d1")) == [({"p1"}, {"d2"})]
    assert pairs(chosen(pool, "d1", "d2")) == [({"p1"}, {"d1", "d2"})]
    with_mixed = view(*map(pd_rank, ("p1", "d1", "m1")))
    choice = chosen(with_mixed, "d1")
    assert (names(choice.mixed), names(choice.decode), choice.pairs) == ({"m1"}, set(), [])


def test_what_only_one_rank_can_serve_goes_there_or_nowhere() -> None:
    pool = view(*map(pd_rank, ("p1", "d1", "d2", "m1")))

    def only_on(rank: str, *avoid: str) -> tuple[set[str], set[str]]:
        choice = choose(msgspec.structs.replace(PAIRABLE, only_on=rank), pool, NIXL, frozenset(avoid))
        assert choice.pairs == []
        return names(choice.mixed), names(choice.decode)

    assert only_on("d2") == (set(), {"d2"}) == only_on("d2", "d2")
    assert only_on("m1") == ({"m1"}, set())
    assert only_on("p1") == only_on("d3") == (set(), set())


def test_without_ranks_that_answer_there_is_no_choice() -> None:
    assert not chosen(view())
    assert not chosen(view(pd_rank("p1")))
    assert chosen(view(pd_rank("d1")))


def test_what_is_missing_is_named() -> None:
    assert missing(view(pd_rank("p1")), "x") == "no decode or mixed rank of x can take a request now"
    assert missing(view(), "x") == "no rank of x can take a request now"


class TestDecoding:
    CLASS = pd_rank("d1").card.pair_class

    def test_only_ranks_of_the_class_are_gone_on_with(self) -> None:
        pool = view(*map(pd_rank, ("d1", "d2", "p1", "m1")), pd_rank("d3", kv_geometry="other"))
        assert names(decoding(pool, self.CLASS, frozenset())) == {"d1", "d2"}

    def test_avoided_ones_are_the_last_choice(self) -> None:
        pool = view(pd_rank("d1", heard=HEARD), pd_rank("d2", heard=SILENT), pool_ms=60_000)
        assert names(decoding(pool, self.CLASS, frozenset())) == {"d1", "d2"}
        assert names(decoding(pool, self.CLASS, frozenset({"d1"}))) == {"d2"}
        assert names(decoding(pool, self.CLASS, frozenset({"d1", "d2"}))) == {"d1", "d2"}

    def test_a_few_silent_ones_are_left_out(self) -> None:
        assert names(decoding(pool_of("d1 d2 d3", "d4"), self.CLASS, frozenset())) == {"d1", "d2", "d3"}

    def test_a_silent_rank_of_the_class_is_better_than_none(self) -> None:
        other = pd_rank("d1", heard=HEARD, kv_geometry="other")
        pool = view(other, pd_rank("d2", heard=SILENT), pool_ms=60_000)
        assert names(decoding(pool, self.CLASS, frozenset())) == {"d2"}

    def test_there_may_be_none(self) -> None:
        assert not decoding(view(pd_rank("p1")), self.CLASS, frozenset())


def test_a_heard_rank_that_can_answer_goes_before_a_silent_one_of_another_role() -> None:
    pool = view(
        pd_rank("m1", heard=HEARD),
        pd_rank("p1", heard=HEARD),
        pd_rank("d1", heard=HEARD),
        pd_rank("d2", heard=SILENT),
        pool_ms=60_000,
    )
    choice = chosen(pool, "d1")
    assert (names(choice.mixed), names(choice.decode), choice.pairs) == ({"m1"}, set(), [])


def test_a_silent_prefill_rank_does_not_take_the_place_of_one_that_failed() -> None:
    pool = view(pd_rank("p1", heard=HEARD), pd_rank("p2", heard=SILENT), pd_rank("d1", heard=HEARD), pool_ms=60_000)
    assert chosen(pool, "p1").pairs == []


def test_a_decode_rank_that_needs_a_prefill_rank_is_never_asked_to_serve_alone() -> None:
    sglang: dict[str, Any] = {"connector": "sglang"}
    of = view(pd_rank("p1", **sglang), pd_rank("d1", **sglang), pd_rank("d2"))
    choice = chosen(of, connectors=frozenset({"sglang"}))
    assert (names(choice.decode), pairs(choice)) == ({"d2"}, [({"p1"}, {"d1"})])
    alone = choose(SHAPE, view(pd_rank("p1", **sglang), pd_rank("d1", **sglang)), NIXL, frozenset())
    assert not alone


def test_pairs_alone_are_a_choice() -> None:
    sglang: dict[str, Any] = {"connector": "sglang"}
    choice = chosen(view(pd_rank("p1", **sglang), pd_rank("d1", **sglang)), connectors=frozenset({"sglang"}))
    assert choice
    assert (names(choice.mixed), names(choice.decode)) == (set(), set())


class TestLengths:
    """Of contexts: d1, p1, m1 have short ones."""

    LONG: ClassVar[dict[str, Any]] = {"max_model_len": 131_072}

    def of(self, *long: str) -> PoolView:
        names = ("m1", "m2", "p1", "p2", "d1", "d2")
        return view(*(pd_rank(name, **(self.LONG if name in long else {"max_model_len": 32_768})) for name in names))

    def chosen(self, pool: PoolView, tokens: int, *avoid: str) -> tuple[set[str], set[str], list[Any]]:
        shape = msgspec.structs.replace(PAIRABLE, least_tokens=tokens)
        choice = choose(shape, pool, NIXL, frozenset(avoid))
        return names(choice.mixed), names(choice.decode), pairs(choice)

    def test_a_rank_whose_context_is_surely_too_short_is_left_out(self) -> None:
        pool = self.of("m2", "p2", "d2")
        assert self.chosen(pool, 32_769) == ({"m2"}, {"d2"}, [({"p2"}, {"d2"})])
        assert self.chosen(pool, 131_072) == ({"m2"}, {"d2"}, [({"p2"}, {"d2"})])

    def test_what_has_room_in_all_may_go_to_all(self) -> None:
        pool = self.of("m2", "p2", "d2")
        everywhere = ({"m1", "m2"}, {"d1", "d2"}, [({"p1", "p2"}, {"d1", "d2"})])
        assert self.chosen(pool, 0) == self.chosen(pool, 32_768) == everywhere

    def test_what_has_room_nowhere_is_refused_by_whoever_is_asked(self) -> None:
        pool = self.of("m2", "p2", "d2")
        assert self.chosen(pool, 131_073) == self.chosen(pool, 0)

    def test_ranks_of_another_role_that_answers_have_the_room(self) -> None:
        assert self.chosen(self.of("d2"), 40_000) == (set(), {"d2"}, [({"p1", "p2"}, {"d2"})])

    def test_a_rank_to_avoid_is_better_than_one_that_would_refuse(self) -> None:
        assert self.chosen(self.of("m2"), 40_000, "m2")[:2] == ({"m2"}, set())

    def test_a_prefill_rank_that_failed_has_none_stand_in_that_would_refuse(self) -> None:
        assert self.chosen(self.of("p2", "d2"), 40_000, "p2")[2] == []

    def test_a_silent_rank_is_better_than_one_that_would_refuse(self) -> None:
        silent = pd_rank("m9", heard=SILENT, **self.LONG)
        heard = [pd_rank(f"m{number}", heard=HEARD, max_model_len=32_768) for number in range(8)]
        pool = view(silent, *heard, pool_ms=60_000)
        assert self.chosen(pool, 40_000)[0] == {"m9"}
        assert self.chosen(pool, 4_000)[0] == {each.card.rank for each in heard}

    def test_a_rank_that_would_refuse_is_better_than_none(self) -> None:
        sglang: dict[str, Any] = {"connector": "sglang", **self.LONG}
        pool = view(pd_rank("m1"), pd_rank("p1", **sglang), pd_rank("d1", **sglang))
        whole = msgspec.structs.replace(SHAPE, least_tokens=40_000)
        assert names(choose(whole, pool, frozenset({"sglang"}), frozenset()).mixed) == {"m1"}

    def test_a_pair_goes_on_with_a_decode_rank_that_has_the_room(self) -> None:
        pool, pair_class = self.of("d2"), TestDecoding.CLASS
        assert names(decoding(pool, pair_class, frozenset(), 131_072)) == {"d2"}
        assert names(decoding(pool, pair_class, frozenset({"d2"}), 131_072)) == {"d2"}
        assert names(decoding(pool, pair_class, frozenset(), 131_073)) == {"d1", "d2"}
