"""Classes of an ask, and what a transfer between them costs."""

from __future__ import annotations

from random import Random

import pytest

from scheduler.decision import LegKind
from scheduler.pairing import BASE_S, PairCandidates, Paired, Where, pair_anywhere, pair_by_place, transfer_s
from tests.samples import leg
from tests.scheduler.samples import pd_rank

TOKENS = 10_000
PREFILL_S = TOKENS / 8_000


@pytest.mark.parametrize(
    ("prefill", "decode", "rate"),
    [
        (Where("n", "a"), Where("n", "b"), 1e6),
        (Where("n", "a"), Where("o", "a"), 2e5),
        (Where("n", ""), Where("o", "b"), 2e5),
        (Where("", ""), Where("", ""), 2e5),
        (Where("n", "a"), Where("o", "b"), 5e4),
    ],
)
def test_a_transfer_takes_longer_the_farther_it_goes(prefill: Where, decode: Where, rate: float) -> None:
    assert transfer_s(PREFILL_S, prefill, decode) == pytest.approx(0.005 + TOKENS / rate)


def paired(*places: tuple[str, str, str], seed: int = 1, tie_s: float = 0.0) -> Paired:
    """Ranks with their nodes and zones, all of one class."""
    ranks = {name: pd_rank(name, node=node, labels={"zone": zone} if zone else {}) for name, node, zone in places}
    candidates = PairCandidates(
        [leg(LegKind.PREFILL, name) for name in ranks if name[0] == "p"],
        [leg(LegKind.DECODE, name) for name in ranks if name[0] == "d"],
        0.0,
    )
    return pair_by_place([candidates], ranks, prefill_s=PREFILL_S, tie_s=tie_s, chance=Random(seed))


def seconds(result: Paired, prefill: str, decode: str) -> float:
    classes = {each.rank: each.place_class for each in (*result.prefills, *result.decodes)}
    return result.transfer_s[classes[prefill]][classes[decode]]


def classes(result: Paired) -> int:
    return len({each.place_class for each in (*result.prefills, *result.decodes)})


def test_nodes_and_zones_that_make_no_difference_are_one_place() -> None:
    result = paired(("p1", "a", "z"), ("p2", "b", "z"), ("d1", "c", "z"), ("d2", "e", ""))
    assert classes(result) == 1
    assert seconds(result, "p1", "d2") == pytest.approx(BASE_S + TOKENS / 2e5)


def test_a_node_with_both_roles_is_a_place_of_its_own() -> None:
    result = paired(("p1", "a", ""), ("p2", "b", ""), ("d1", "a", ""), ("d2", "c", ""))
    assert classes(result) == 2
    assert seconds(result, "p1", "d1") == pytest.approx(BASE_S + TOKENS / 1e6)
    assert {seconds(result, *pair) for pair in (("p1", "d2"), ("p2", "d1"), ("p2", "d2"))} == {BASE_S + TOKENS / 2e5}


def test_zones_are_told_apart_where_there_are_several() -> None:
    result = paired(("p1", "a", "x"), ("p2", "b", "y"), ("d1", "c", "x"), ("d2", "e", "y"), ("d3", "f", ""))
    assert seconds(result, "p1", "d1") == pytest.approx(BASE_S + TOKENS / 2e5)
    assert seconds(result, "p1", "d2") == pytest.approx(BASE_S + TOKENS / 5e4)
    assert seconds(result, "p2", "d3") == pytest.approx(BASE_S + TOKENS / 2e5)


def test_of_many_nodes_with_both_roles_only_some_are_told_apart_and_each_has_its_turn() -> None:
    places = [(f"{role}{number}", f"n{number}", "") for number in range(16) for role in "pd"]
    near: set[str] = set()
    for seed in range(40):
        result = paired(*places, seed=seed)
        assert classes(result) == 5
        near |= {f"p{n}" for n in range(16) if seconds(result, f"p{n}", f"d{n}") < BASE_S + TOKENS / 2e5}
    assert len(near) == 16


def test_classes_that_do_not_pair_have_no_transfer() -> None:
    ranks = {name: pd_rank(name) for name in ("p1", "d1", "p2", "d2")}
    pairs = [
        PairCandidates([leg(LegKind.PREFILL, "p1")], [leg(LegKind.DECODE, "d1")], 0.0),
        PairCandidates([leg(LegKind.PREFILL, "p2")], [leg(LegKind.DECODE, "d2")], 3.0),
    ]
    for result in (
        pair_by_place(pairs, ranks, prefill_s=PREFILL_S, tie_s=0.0, chance=Random(1)),
        pair_anywhere(pairs),
    ):
        assert classes(result) == 2
        for prefill, decode in (("p1", "d2"), ("p2", "d1")):
            with pytest.raises(KeyError):
                seconds(result, prefill, decode)
    assert (seconds(pair_anywhere(pairs), "p1", "d1"), seconds(pair_anywhere(pairs), "p2", "d2")) == (0.0, 3.0)


def test_chance_decides_between_equal_places() -> None:
    places = (("p1", "a", ""), ("p2", "b", ""), ("d1", "a", ""), ("d2", "b", ""))
    better = {
        seconds(result := paired(*places, seed=seed, tie_s=0.1), "p1", "d1") < seconds(result, "p2", "d2")
        for seed in range(20)
    }
    assert better == {True, False}
    one_place = paired(("p1", "a", ""), ("p2", "b", ""), ("d1", "c", ""), tie_s=0.1)
    assert seconds(one_place, "p1", "d1") == pytest.approx(BASE_S + TOKENS / 2e5)
