"""What a gateway remembers of its own attempts: what it doubts, and what it has yet to tell."""

from __future__ import annotations

import pytest

from scheduler.breaker import OPEN_MS, Heard
from scheduler.own_words import SHUN_MS, OwnWords
from tests.scheduler.samples import rank

NOW = 1_000_000
A = ("a", "i1")


def heard(*words: bool, at_ms: int = NOW) -> OwnWords:
    own = OwnWords()
    for well in words:
        own.add(A, at_ms, well=well)
    return own


@pytest.mark.parametrize(
    ("words", "doubted"),
    [([False] * 3, True), ([False] * 2, False), ([True] * 4 + [False] * 3, False), ([True] * 3 + [False] * 3, True)],
)
def test_a_rank_is_doubted_by_the_rule_of_breakers_at_once(words: list[bool], doubted: bool) -> None:
    own = heard(*words)
    assert own.doubts(NOW) == ({"a": 3} if doubted else {})
    assert own.doubts(NOW + OPEN_MS) == {}


def test_a_failure_after_that_renews_the_doubt() -> None:
    own = heard(False, False, False)
    own.add(A, NOW + OPEN_MS, well=False)
    assert own.doubts(NOW + 2 * OPEN_MS - 1) == {"a": 4}


def test_failures_of_more_than_ten_seconds_ago_are_forgotten() -> None:
    own = heard(False, False)
    own.add(A, NOW + 10_000, well=False)
    assert own.doubts(NOW + 10_000) == {}
    assert own.take(A, NOW + 10_000, NOW + 10_000) == (Heard(1_010, 1, 0),)


def test_everything_is_told_once() -> None:
    own = heard(True, False)
    assert own.failing(NOW) == [A]
    assert own.take(A, NOW, NOW) == (Heard(1_000, 1, 1),)
    assert (own.failing(NOW), own.has_untold(A, NOW), own.take(A, NOW, NOW)) == ([], False, ())
    own.add(A, NOW + 1, well=True)
    own.add(A, NOW + 1_000, well=True)
    assert own.failing(NOW + 1_000) == []
    assert own.take(A, NOW + 1_000, NOW + 1_000) == (Heard(1_000, 0, 1), Heard(1_001, 0, 1))


def test_lives_that_are_gone_are_forgotten() -> None:
    own = heard(False, False, False)
    own.take(A, NOW, NOW)
    own.keep({"a": rank("a")})
    assert own.doubts(NOW) == {"a": 3}
    own.keep({"a": rank("a", incarnation="i2")})
    assert (own.doubts(NOW), own.failing(NOW), own.take(A, NOW, NOW)) == ({}, [], ())


def test_a_rank_that_took_no_connection_is_shunned_for_a_while() -> None:
    own = OwnWords()
    own.shun("a", NOW)
    assert (own.shunned(NOW + SHUN_MS - 1), own.shunned(NOW + SHUN_MS)) == (frozenset({"a"}), frozenset())


def test_a_store_that_began_anew_is_told_again() -> None:
    own = heard(False, False, False, True)
    own.take(A, NOW, NOW)
    own.tell_anew()
    assert own.failing(NOW) == [A]
    assert own.take(A, NOW, NOW) == (Heard(1_000, 3, 1),)
    assert own.doubts(NOW) == {"a": 3}, "what it saw itself it knows all the while"


@pytest.mark.parametrize(("pool_ms", "second"), [(NOW + 30_999, 1_030), (5_000, 5), (4_100, 4), (0, 0)])
def test_words_are_told_in_seconds_of_pool_time(pool_ms: int, second: int) -> None:
    assert heard(False).take(A, NOW, pool_ms) == (Heard(second, 1, 0),)


def test_words_of_before_pool_time_began_are_of_its_first_second() -> None:
    own = heard(False)
    own.add(A, NOW + 1_000, well=True)
    assert own.take(A, NOW + 1_000, 0) == (Heard(0, 1, 0), Heard(0, 0, 1))


def test_of_a_life_that_is_asked_for_long_only_the_last_seconds_are_kept() -> None:
    own = OwnWords()
    for at_ms in range(NOW, NOW + 100_000, 500):
        own.add(A, at_ms, well=at_ms % 1_000 == 0)
        own.take(A, at_ms, at_ms)
    assert [len(own._heard[A]), len(own._told[A])] == [10, 10]
