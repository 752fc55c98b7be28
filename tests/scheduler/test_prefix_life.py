"""For how long blocks are known, and how many keys that makes."""

from __future__ import annotations

import pytest

from scheduler.prefix_life import (
    BUSY_SHARE,
    LATENCY_MS,
    LONGEST_MS,
    MARGIN,
    MOST_RANKS,
    SHORTEST_MS,
    WINDOW_MS,
    PrefixLife,
)
from scheduler.rank_view import RankView
from scheduler.rows import BookLoad
from tests.scheduler.samples import rank

CAPACITY = 524_288
RATE = 8_000.0
BLOCK_TOKENS = 512
STEP_MS = 1_000


def at(
    ms: int,
    odometer: float | None,
    *,
    rate: float = RATE,
    name: str = "a",
    incarnation: str = "i1",
    queued_tokens: int = 0,
    capacity: int = CAPACITY,
) -> RankView:
    shown = None if odometer is None else int(odometer)
    heard = {"computed_tokens": shown, "sampled_ms": ms, "prefill_tokens_per_s": rate}
    book = BookLoad(queued_tokens=queued_tokens)
    return rank(name, book, heard=heard, kv_capacity_tokens=capacity, incarnation=incarnation)


def most_keys(rates: list[tuple[int, float]], learned: float = RATE) -> float:
    """The most keys at once of a rank that computes so many seconds at such a rate, as a multiple of its cache."""
    life, now_ms, odometer, most = PrefixLife(), 0, 0.0, 0.0
    ends: list[tuple[int, float]] = []
    for seconds, tokens_per_s in rates:
        for _ in range(seconds * 1000 // STEP_MS):
            now_ms += STEP_MS
            odometer += tokens_per_s * STEP_MS / 1000
            known_ms = life.known_ms([at(now_ms, odometer, rate=learned)], 0)
            ends.append((now_ms + known_ms, tokens_per_s * STEP_MS / 1000 / BLOCK_TOKENS))
            if now_ms % 60_000 == 0:
                ends = [each for each in ends if each[0] > now_ms]
                most = max(most, sum(keys for _, keys in ends))
    return most / (CAPACITY / BLOCK_TOKENS)


@pytest.mark.parametrize("share", [0.02, 0.25, 1.0])
def test_the_keys_of_a_rank_are_a_small_multiple_of_what_it_holds(share: float) -> None:
    assert most_keys([(7_200, share * RATE)]) <= 1.05 * max(MARGIN, share / BUSY_SHARE)


def test_a_rank_whose_rate_is_not_learned_yet_has_few_keys_too() -> None:
    assert most_keys([(7_200, RATE)], learned=50.0) <= 8


def test_bursts_after_pauses_leave_few_keys() -> None:
    assert most_keys([(1_200, 0.0), (300, RATE)] * 8) <= 10


def test_at_a_steady_load_all_that_a_rank_holds_is_known() -> None:
    for share in (0.05, 0.3, 1.0):
        life = PrefixLife()
        for ms in range(0, 2 * WINDOW_MS + 1, STEP_MS):
            known_ms = life.known_ms([at(ms, share * RATE * ms / 1000)], 0)
        assert known_ms == pytest.approx(min(LONGEST_MS, MARGIN * 1000 * CAPACITY / (share * RATE)))


def test_before_a_window_was_seen_a_rank_is_taken_to_be_busy_for_a_share_of_its_time() -> None:
    span_ms = 1000 * CAPACITY / (BUSY_SHARE * RATE)
    assert PrefixLife().known_ms([at(0, 0)], 0) == round(span_ms)
    assert PrefixLife().known_ms([at(0, None)], 0) == round(span_ms)
    assert PrefixLife().known_ms([at(0, 0, queued_tokens=1_500)], 500) == round(span_ms + 1000)


def test_of_the_ranks_of_a_pair_the_slower_one_counts() -> None:
    slow = at(0, 0, rate=4_000.0, name="b")
    assert PrefixLife().known_ms([at(0, 0), slow], 0) == PrefixLife().known_ms([slow], 0)


def test_nothing_is_known_for_ever_or_for_no_time() -> None:
    assert PrefixLife().known_ms([at(0, 0, rate=1e-9)], 0) == LONGEST_MS
    assert PrefixLife().known_ms([at(0, 0, capacity=1)], 0) == SHORTEST_MS
    life = PrefixLife()
    for ms in (0, WINDOW_MS):
        known_ms = life.known_ms([at(ms, 7)], 0)
    assert known_ms == LONGEST_MS, "it computed nothing"


@pytest.mark.parametrize(
    "then",
    [
        pytest.param(at(WINDOW_MS, 10**7, incarnation="i2"), id="a new life"),
        pytest.param(at(WINDOW_MS, 0), id="an odometer that fell"),
        pytest.param(at(-LATENCY_MS - 1, 10**7), id="a clock that fell"),
    ],
)
def test_what_began_anew_is_measured_anew(then: RankView) -> None:
    life = PrefixLife()
    life.known_ms([at(0, 5)], 0)
    assert life.known_ms([then], 0) == PrefixLife().known_ms([at(0, 0)], 0)


def test_a_sample_that_seems_older_when_it_is_reported_again_is_of_the_same_life() -> None:
    life = PrefixLife()
    for ms in (0, WINDOW_MS):
        known_ms = life.known_ms([at(ms, 0.1 * RATE * ms / 1000)], 0)
    assert life.known_ms([at(WINDOW_MS - 2, 0.1 * RATE * WINDOW_MS / 1000)], 0) == known_ms
    assert life.known_ms([at(WINDOW_MS + 1, 0.1 * RATE * WINDOW_MS / 1000)], 0) == pytest.approx(known_ms, rel=1e-4)


def test_no_more_ranks_are_kept_than_there_may_be() -> None:
    life = PrefixLife()
    for number in range(MOST_RANKS + 1):
        life.known_ms([at(0, 0, name=str(number))], 0)
    assert len(life._marks) == MOST_RANKS
