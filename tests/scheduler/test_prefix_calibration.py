"""For how long a rank is believed to hold what it used."""

from __future__ import annotations

import pytest

from scheduler.prefix_calibration import EDGES, LONGEST_PAUSE, SHRINK, Calibration, Counts, age_class
from tests.scheduler.believed_rank import BelievedRank

CARD = 400_000
FULL = CARD
SETTLED = 3_000
FRESH = Calibration(capacity_tokens=1_000, window=Counts((0, 0, 0, 0, 0), 0))


def after(*windows: tuple[tuple[int, ...], int], at: int = 100_000) -> Calibration:
    """After windows of (believed tokens by class, found tokens)."""
    known, believed, found = FRESH, (0,) * len(EDGES), 0
    for more_believed, more_found in windows:
        believed = tuple(map(int.__add__, believed, more_believed))
        found += more_found
        known = known.after(Counts(believed, found), at)
    return known


@pytest.mark.parametrize("overrated", [0.8, 1.0, 1.2])
def test_a_cache_that_holds_what_its_card_says_is_hardly_ever_taken_for_a_smaller_one(overrated: float) -> None:
    rank = BelievedRank(CARD, CARD, overrated=overrated)
    spans = sorted(rank.serve(SETTLED)[500:])
    assert spans[0] >= SHRINK * FULL if overrated > 1 else spans[0] == FULL
    assert spans[len(spans) // 10] == FULL


@pytest.mark.parametrize("smaller", [4, 10])
def test_a_smaller_cache_is_found_out_and_never_taken_for_less_than_it_is(smaller: int) -> None:
    rank = BelievedRank(CARD, CARD // smaller)
    spans = sorted(rank.serve(SETTLED)[1_000:])
    assert spans[0] > CARD / smaller
    assert spans[len(spans) // 2] <= 0.6 * FULL if smaller == 10 else spans[0] <= 0.8 * FULL


def test_a_rank_that_finds_nothing_is_seldom_believed_to_hold_anything() -> None:
    spans = BelievedRank(CARD, 0).serve(2 * SETTLED)
    assert 0 < sum(span > 0 for span in spans) < len(spans) / 10


def test_a_rank_that_finds_something_again_is_believed_again() -> None:
    rank = BelievedRank(CARD, 0)
    rank.serve(SETTLED)
    rank.cache._most = CARD // 512
    assert set(rank.serve(SETTLED)[-100:]) == {FULL}


def test_a_cache_that_was_emptied_is_believed_whole_soon() -> None:
    rank = BelievedRank(CARD, CARD)
    rank.serve(SETTLED)
    rank.cache.empty()
    assert set(rank.serve(1_000)[-300:]) == {FULL}


@pytest.mark.parametrize("computed", [0, 1, 5_000])
def test_a_fresh_life_is_believed_whole_at_once(computed: int) -> None:
    assert Calibration(capacity_tokens=1_000).span_tokens(computed) == 1_000


def test_nothing_is_said_before_a_window_is_full() -> None:
    assert after(((499, 0, 0, 0, 0), 0)) == FRESH
    assert after(((0, 0, 0, 0, 0), 499)) == FRESH
    assert after(((500, 0, 0, 0, 0), 0)) != FRESH


def test_the_span_shrinks_little_by_little_to_twice_what_explains_the_hits() -> None:
    window = ((300, 300, 0, 200, 200), 500)
    assert after(window).share == pytest.approx(SHRINK)
    assert after(*[window] * 20).share == 2 * EDGES[1]


def test_the_span_grows_at_once() -> None:
    small = [((200, 800, 0, 0, 0), 100)] * 20
    assert after(*small).share == 2 * EDGES[0]
    assert after(*small, ((500, 500, 0, 0, 0), 1_000)).share == 4 * EDGES[0]
    assert after(*small, ((500, 500, 0, 0, 0), 1_000), ((0, 0, 0, 0, 0), 1_000)).share == 8 * EDGES[0]


def test_hits_that_nobody_believed_in_change_nothing() -> None:
    assert after(((100, 100, 100, 100, 100), 9_000)).share == 1.0


def test_what_was_used_before_nothing_was_found_is_forgotten() -> None:
    known = after(((600, 0, 0, 0, 0), 20), at=100_000)
    assert [known.span_tokens(computed) for computed in (100_000, 100_300, 200_000)] == [0, 300, 1_000]


def test_where_again_nothing_was_found_nothing_is_believed_for_longer_each_time() -> None:
    nothing = ((600, 0, 0, 0, 0), 0)
    starts = [after(*[nothing] * times, at=0).forgotten_at for times in range(1, 10)]
    assert starts == [0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, LONGEST_PAUSE * 1_000, LONGEST_PAUSE * 1_000]
    found = after(*[nothing] * 5, ((0, 0, 0, 0, 0), 600), at=0)
    assert (found.forgotten_at, found.pause_tokens, found.share) == (0, 0, 1.0)


def test_counts_that_fell_begin_anew() -> None:
    known = after(((400, 0, 0, 0, 0), 100))
    lost = known.after(Counts((0, 0, 0, 0, 0), 150), 0)
    assert lost.after(Counts((450, 0, 0, 0, 0), 160), 0) == lost
    assert known.after(Counts((500, 0, 0, 0, 0), 0), 0).window == Counts((500, 0, 0, 0, 0), 0)


def test_ages_fall_into_classes_that_double() -> None:
    ages = [1, 1_000 / 16, 1_000 / 16 + 1, 500, 1_000, 5_000]
    assert [age_class(age, 1_000) for age in ages] == [0, 0, 1, 3, 4, 4]
