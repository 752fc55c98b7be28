"""Whose turn it is, of groups of ranks."""

from __future__ import annotations

from collections import Counter
from random import Random

from scheduler.policies.order import by_chance, by_turn


def test_in_turn_each_group_has_as_many_requests_a_round_as_it_has_ranks() -> None:
    turns = [by_turn([2, 0, 4], turn, Random(1)) for turn in range(12)]
    assert [group for group, _ in turns] == [0, 0, 2, 2, 2, 2] * 2


def test_a_group_in_its_turn_goes_on_where_it_was() -> None:
    turns = [by_turn([2, 3], turn, Random(1)) for turn in range(15)]
    for group, count in ((0, 6), (1, 9)):
        assert [turn for of, turn in turns if of == group] == list(range(count))


def test_by_chance_a_group_has_the_share_that_its_ranks_are_of_all() -> None:
    chance = Random(1)
    groups = Counter(by_chance([1, 0, 3], turn, chance).group for turn in range(2_000))
    assert set(groups) == {0, 2}
    assert 2.5 < groups[2] / groups[0] < 3.5


def test_a_single_group_is_always_first() -> None:
    assert {by_turn([3], turn, Random(1)).group for turn in range(5)} == {0}
    assert {by_chance([3], turn, Random(1)).group for turn in range(5)} == {0}


def test_groups_without_ranks_harm_nothing() -> None:
    assert by_turn([0, 0], 7, Random(1)).group == by_chance([0, 0], 7, Random(1)).group == 0
