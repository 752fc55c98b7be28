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
    assert own.take(A, NOW + 10_000) == (Heard(1_010, 1, 0),)


def test_everything_is_told_once() -> None:
    own = heard(True, False)
    assert own.failing(NOW) == [A]
    assert own.take(A, NOW) == (Heard(1_000, 1, 1),)
    assert (own.failing(NOW), own.has_untold(A, NOW), own.take(A, NOW)) == ([], False, ())
    own.add(A, NOW + 1, well=True)
    own.add(A, NOW + 1_000, well=True)
    assert own.failing(NOW + 1_000) == []
    assert own.take(A, NOW + 1_000) == (Heard(1_000, 0, 1), Heard(1_001, 0, 1))


def test_lives_that_are_gone_are_forgotten() -> None:
    own = heard(False, False, False)
    own.take(A, NOW)
    own.keep({"a": rank("a")})
    assert own.doubts(NOW) == {"a": 3}
    own.keep({"a": rank("a", incarnation="i2")})
    assert (own.doubts(NOW), own.failing(NOW), own.take(A, NOW)) == ({}, [], ())


def test_a_rank_that_took_no_connection_is_shunned_for_a_while() -> None:
    own = OwnWords()
    own.shun("a", NOW)
    assert (own.shunned(NOW + SHUN_MS - 1), own.shunned(NOW + SHUN_MS)) == (frozenset({"a"}), frozenset())


def test_when_pool_time_begins_anew_nothing_is_remembered() -> None:
    own = heard(False, False, False)
    own.shun("a", NOW)
    own.forget()
    assert [*own.doubts(5), *own.shunned(5), *own.failing(5)] == []


def test_what_was_heard_around_a_second_s_end_is_told_once_though_time_goes_back_a_little() -> None:
    own = OwnWords()
    for at_ms, well in ((NOW, True), (NOW - 1, True), (NOW, False), (NOW + 1, True)):
        own.add(A, at_ms, well=well)
    assert set(own.take(A, NOW + 1)) == {Heard(999, 0, 1), Heard(1_000, 1, 2)}
    assert not own.has_untold(A, NOW + 1)


def test_what_was_told_is_not_told_again_when_time_went_back_by_seconds() -> None:
    own = heard(False, False, False)
    own.take(A, NOW)
    own.add(A, NOW - 3_000, well=False)
    assert own.take(A, NOW - 3_000) == (Heard(997, 1, 0),)
    assert own.failing(NOW) == []
    own.add(A, NOW, well=False)
    assert own.take(A, NOW) == (Heard(1_000, 1, 0),)
