"""Which faults come when, and which can come at all."""

from collections import Counter

from tests.chaos.kinds import KINDS, Part, possible
from tests.chaos.schedule import schedule

PARTS: dict[Part, int] = {"rank": 8, "gateway": 3, "agent": 4, "store": 3}
ALONE, _ = possible((), "alone", has_faketime=True, theirs=False)


def test_the_same_seed_plans_the_same_faults_and_another_one_others() -> None:
    assert schedule(1, ALONE, 60, 2.0, PARTS) == schedule(1, ALONE, 60, 2.0, PARTS)
    assert schedule(1, ALONE, 60, 2.0, PARTS) != schedule(2, ALONE, 60, 2.0, PARTS)


def test_each_kind_comes_as_often_as_any_other() -> None:
    rounds = 10
    planned = schedule(3, ALONE, rounds * len(ALONE), 2.0, PARTS)
    assert Counter(each.kind for each in planned) == {kind.name: rounds for kind in ALONE}


def test_faults_hit_parts_that_are_there_for_as_long_as_their_kind_says_in_order() -> None:
    planned = schedule(4, ALONE, 200, 2.0, PARTS)
    for each in planned:
        least_s, most_s = KINDS[each.kind].hold_s
        assert least_s - 0.001 <= each.hold_s <= most_s + 0.001
        assert 0 <= each.target < PARTS[KINDS[each.kind].part]
    assert [each.at_s for each in planned] == sorted(each.at_s for each in planned)


def test_all_parts_are_hit() -> None:
    hit = {(KINDS[each.kind].part, each.target) for each in schedule(5, ALONE, 400, 2.0, PARTS)}
    assert hit == {(part, number) for part, count in PARTS.items() for number in range(count)}


def test_nothing_is_planned_of_no_kinds() -> None:
    assert schedule(1, [], 10, 2.0, PARTS) == []


def test_what_cannot_be_injected_is_left_out_with_its_reason() -> None:
    taken, left_out = possible((), "sentinel", has_faketime=False, theirs=False)
    assert "store-failover" in {kind.name for kind in taken}
    assert left_out["store-kill"] == "not with a Sentinel trio"
    taken, left_out = possible(("store-clock", "store-failover"), "alone", has_faketime=False, theirs=False)
    assert (taken, set(left_out)) == ([], {"store-clock", "store-failover"})


def test_of_another_router_only_the_ranks_are_broken() -> None:
    taken, left_out = possible((), "alone", has_faketime=True, theirs=True)
    assert {kind.part for kind in taken} == {"rank"}
    assert len(taken) + len(left_out) == len(KINDS)
