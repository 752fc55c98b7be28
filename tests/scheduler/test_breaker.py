"""The breaker of one life of a rank, as a value that words change and time moves."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.breaker import (
    FAILURES,
    NEVER,
    OPEN_MOST_MS,
    OPEN_MS,
    RAMP_MS,
    SETTLE_MS,
    TICKET_MS,
    UNPROBED_MS,
    Breaker,
    BreakerState,
    Edit,
    Heard,
    edited,
    known_breaker,
    parse_breaker,
)

NOW = 1_000_000


def said(**words: Any) -> Edit:
    return Edit(**{"by": "me", "incarnation": "i1", **words})


def after(breaker: Breaker | None, now_ms: int, **words: Any) -> Breaker:
    result = edited(breaker, said(**words), now_ms)
    assert result is not None
    return result


def failing(badly: int = FAILURES, well: int = 0, at_ms: int = NOW) -> Breaker:
    return after(None, at_ms, heard=(Heard(at_ms // 1000, badly, well),))


def opened(trips: int = 1) -> Breaker:
    """At NOW."""
    return Breaker("i1", trips=trips, open_until_ms=NOW + OPEN_MS)


HALF_OPEN_MS = NOW + OPEN_MS
CLAIMED = after(opened(), HALF_OPEN_MS, claims=True)


@pytest.mark.parametrize(
    ("badly", "well", "state"),
    [(3, 0, "open"), (3, 3, "open"), (3, 4, "closed"), (2, 0, "closed"), (50, 50, "open"), (50, 51, "closed")],
)
def test_it_opens_after_three_failures_that_are_half_of_the_attempts(badly: int, well: int, state: str) -> None:
    assert failing(badly, well).state(NOW + SETTLE_MS) == state


def test_it_waits_for_what_other_gateways_have_to_say() -> None:
    breaker = failing()
    assert breaker.state(NOW + SETTLE_MS - 1) is BreakerState.CLOSED
    outvoted = after(breaker, NOW + 300, heard=(Heard(NOW // 1000, 0, 4),))
    assert outvoted.state(NOW + SETTLE_MS) is BreakerState.CLOSED


def test_what_is_due_is_entered_by_whoever_sees_it() -> None:
    due = after(failing(), NOW + SETTLE_MS)
    assert (due.trips, due.open_until_ms, due.heard) == (1, NOW + SETTLE_MS + OPEN_MS, ())


def test_failures_of_more_than_ten_seconds_ago_are_forgotten() -> None:
    breaker = after(failing(2), NOW + 10_000, heard=(Heard((NOW + 10_000) // 1000, 2, 0),))
    assert breaker.heard == (Heard(1_010, 2, 0),)
    assert breaker.since_ms == NOW + 10_000
    assert edited(failing(2), said(), NOW + 10_000) is None


def test_failures_of_the_last_ten_seconds_add_up() -> None:
    breaker = after(failing(2), NOW + 9_000, heard=(Heard((NOW + 9_000) // 1000, 1, 0),))
    assert breaker.state(NOW + 9_000) is BreakerState.OPEN


def test_an_open_one_waits_twice_as_long_after_each_probe_that_went_badly() -> None:
    breaker, now_ms, waits = opened(), NOW + OPEN_MS, []
    for _ in range(6):
        claimed = after(breaker, now_ms, claims=True)
        breaker = after(claimed, now_ms, probe_went_well=False)
        waits.append(breaker.open_until_ms - now_ms)
        assert breaker.state(now_ms) is BreakerState.OPEN
        now_ms = breaker.open_until_ms
    assert waits == [4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
    assert OPEN_MOST_MS == 30_000


def test_a_probe_that_goes_well_closes_it_and_its_rank_starts_slowly() -> None:
    closed = after(CLAIMED, HALF_OPEN_MS + 5, probe_went_well=True)
    assert (closed.trips, closed.back_ms) == (0, HALF_OPEN_MS + 5)
    assert closed.state(HALF_OPEN_MS + 6) is BreakerState.CLOSED
    assert edited(closed, said(), HALF_OPEN_MS + 5 + RAMP_MS) is None


def test_only_the_holder_of_the_ticket_can_end_the_wait() -> None:
    for by in ("another", "me"):
        breaker = edited(CLAIMED, Edit(by=by, incarnation="i1", probe_went_well=True), HALF_OPEN_MS + 5)
        assert breaker is not None
        assert (breaker.trips == 0) == (by == "me")


def test_one_gateway_at_a_time_has_the_ticket() -> None:
    other = Edit(by="another", incarnation="i1", claims=True)
    assert (CLAIMED.holder, CLAIMED.ticket_until_ms) == ("me", HALF_OPEN_MS + TICKET_MS)
    assert edited(CLAIMED, other, HALF_OPEN_MS + TICKET_MS - 1) == CLAIMED
    taken = edited(CLAIMED, other, HALF_OPEN_MS + TICKET_MS)
    assert taken is not None
    assert taken.holder == "another"
    given_back = after(CLAIMED, HALF_OPEN_MS + 5, gives_back=True)
    taken = edited(given_back, other, HALF_OPEN_MS + 6)
    assert taken is not None
    assert taken.holder == "another"


def test_who_is_behind_in_pool_time_takes_no_ticket_and_closes_nothing() -> None:
    longest = after(after(opened(9), HALF_OPEN_MS, claims=True), HALF_OPEN_MS, probe_went_well=False)
    assert longest.open_until_ms == HALF_OPEN_MS + OPEN_MOST_MS
    for behind_ms in (1, 20, 1_000):
        now_ms, other = HALF_OPEN_MS - behind_ms, Edit(by="another", incarnation="i1", claims=True)
        kept = msgspec.structs.replace(CLAIMED, open_until_ms=NOW)
        assert edited(kept, other, now_ms) == kept
        assert edited(longest, other, now_ms) == longest


def test_who_keeps_saying_so_keeps_the_ticket() -> None:
    kept = after(CLAIMED, HALF_OPEN_MS + 2_000, claims=True)
    assert kept.ticket_until_ms == HALF_OPEN_MS + 2_000 + TICKET_MS


@pytest.mark.parametrize("breaker", [opened(), failing(2), None])
def test_there_is_no_ticket_but_of_half_open_ones(breaker: Breaker | None) -> None:
    result = edited(breaker, said(claims=True), NOW)
    assert result == breaker


def test_attempts_that_end_while_it_is_not_closed_change_nothing() -> None:
    words = said(heard=(Heard(NOW // 1000, 5, 5),))
    assert edited(opened(), words, NOW + 1) == opened()
    assert edited(CLAIMED, words, HALF_OPEN_MS + 1) == CLAIMED


def test_one_that_nobody_probes_closes_after_a_minute() -> None:
    assert opened().state(HALF_OPEN_MS + UNPROBED_MS - 1) is BreakerState.HALF_OPEN
    assert opened().state(HALF_OPEN_MS + UNPROBED_MS) is BreakerState.CLOSED
    assert after(opened(), HALF_OPEN_MS + UNPROBED_MS).back_ms == HALF_OPEN_MS + UNPROBED_MS


def test_one_that_is_being_probed_waits_for_the_answer_however_long_it_takes() -> None:
    probed = after(CLAIMED, HALF_OPEN_MS + UNPROBED_MS - 1_000, claims=True)
    assert probed.state(probed.ticket_until_ms - 1) is BreakerState.HALF_OPEN
    assert probed.state(probed.ticket_until_ms) is BreakerState.CLOSED, "who probed it has died"


def test_gateways_that_claim_it_by_turns_and_send_nothing_keep_it_no_longer() -> None:
    breaker, now_ms = CLAIMED, HALF_OPEN_MS
    for turn in range(UNPROBED_MS // TICKET_MS + 1):
        now_ms += TICKET_MS
        breaker = after(breaker, now_ms, by=f"g{turn % 2}", claims=True)
    assert breaker.trips == 0


def test_one_of_a_time_far_ahead_is_another_epoch_s() -> None:
    assert opened().state(NOW - 60_000) is BreakerState.CLOSED
    assert after(opened(), NOW - 60_000).trips == 0
    stale = Breaker("i1", back_ms=NOW)
    assert edited(stale, said(), NOW - 60_000) is None


def test_another_life_begins_with_nothing() -> None:
    assert edited(opened(), said(incarnation="i2"), NOW) is None
    back = edited(opened(), said(incarnation="i2", came_back=True), NOW)
    assert back == Breaker("i2", back_ms=NOW)


def test_who_sees_later_that_a_rank_came_back_changes_nothing() -> None:
    back = Breaker("i1", back_ms=NOW)
    assert after(back, NOW + 250, by="another", came_back=True) == back


def test_a_rank_that_comes_back_is_not_closed_by_that() -> None:
    assert edited(opened(), said(came_back=True), NOW + 1) == opened()


numbers = st.integers(0, 1 << 53)
breakers = st.builds(
    Breaker,
    incarnation=st.sampled_from(["i1", "0a.1"]),
    since_ms=numbers,
    trips=st.integers(0, 40),
    open_until_ms=numbers,
    holder=st.sampled_from(["-", "0a1b"]),
    ticket_until_ms=numbers,
    back_ms=st.one_of(st.just(NEVER), numbers),
    heard=st.lists(st.builds(Heard, numbers, numbers, numbers), max_size=11).map(tuple),
)


@given(breakers)
def test_a_row_is_read_as_it_was_written(breaker: Breaker) -> None:
    assert parse_breaker(breaker.row()) == breaker


ROW = "i1 5 1 2000 0a1b 3000 -1 4:3:0,5:1:2"


@pytest.mark.parametrize(
    ("part", "other"),
    [(" 5 1", " -5 1"), (" 1 2000", " -1 2000"), (" -1 4", " -2 4"), (" 2000", f" {1 << 54}"),
     ("5:1:2", f"5:1:{1 << 54}"), ("4:3:0", ",".join(["4:3:0"] * 11)), ("4:3:0", "4:3"), (" 0a1b", ""),
     ("5:1:2", "5:1:x")],
)  # fmt: skip
def test_a_row_that_nobody_of_ours_wrote_is_no_breaker(part: str, other: str) -> None:
    assert parse_breaker(ROW).row() == ROW
    assert known_breaker(ROW.replace(part, other), "i1") is None


def test_a_row_of_another_life_is_none_of_this_one() -> None:
    assert known_breaker(ROW, "i1") == parse_breaker(ROW)
    assert known_breaker(ROW, "i2") is None


@given(st.text(max_size=60))
def test_whatever_stands_in_the_store_is_a_breaker_or_none(row: str) -> None:
    found = known_breaker(row, "i1")
    assert found is None or found.incarnation == "i1"


@given(st.lists(st.sampled_from("0123456789 :,-i"), max_size=60).map("".join))
def test_whatever_looks_like_a_row_is_a_breaker_or_none(rest: str) -> None:
    found = known_breaker(f"i1 {rest}", "i1")
    assert found is None or (found.trips >= 0 and all(min(each) >= 0 for each in found.heard))


edits = st.builds(
    Edit,
    by=st.sampled_from(["me", "another"]),
    incarnation=st.sampled_from(["i1", "i2"]),
    heard=st.lists(st.builds(Heard, st.integers(950, 1_050), st.integers(0, 9), st.integers(0, 9)), max_size=4).map(
        tuple
    ),
    probe_went_well=st.sampled_from([None, True, False]),
    claims=st.booleans(),
    gives_back=st.booleans(),
    came_back=st.booleans(),
)


@given(st.lists(st.tuples(edits, st.integers(0, 20_000)), max_size=30))
def test_no_words_make_a_row_grow_or_a_count_negative(words: list[tuple[Edit, int]]) -> None:
    breaker, now_ms = None, NOW
    for edit, later_ms in words:
        now_ms += later_ms
        breaker = edited(breaker, edit, now_ms)
        if breaker is None:
            continue
        assert len(breaker.heard) <= 11
        assert all(min(each) >= 0 for each in breaker.heard)
        assert breaker.open_until_ms <= now_ms + OPEN_MOST_MS
        assert parse_breaker(breaker.row()) == breaker


@given(st.lists(st.tuples(edits, st.integers(0, 20_000)), max_size=30))
def test_whatever_was_said_it_closes_by_itself_and_is_forgotten(words: list[tuple[Edit, int]]) -> None:
    breaker, now_ms = None, NOW
    for edit, later_ms in words:
        now_ms += later_ms
        breaker = edited(breaker, edit, now_ms)
    for _ in range(4):
        now_ms += OPEN_MOST_MS + UNPROBED_MS
        incarnation = breaker.incarnation if breaker else "i1"
        breaker = edited(breaker, Edit(by="me", incarnation=incarnation), now_ms)
    assert breaker is None
