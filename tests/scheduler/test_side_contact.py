"""When the prefix index is asked, and told anything."""

from __future__ import annotations

from scheduler.contact import MISSES_TO_DEGRADE
from scheduler.side_contact import FULL_S, LONGEST_FULL_S, SideContact

DEADLINE_S = 0.05
PROBE_S = 0.25


def silent_at(now_s: float) -> SideContact:
    contact = SideContact(DEADLINE_S, PROBE_S)
    for _ in range(MISSES_TO_DEGRADE):
        assert not contact.is_silent
        contact.missed(now_s)
    assert contact.is_silent
    return contact


def test_after_misses_in_a_row_the_index_is_asked_now_and_then() -> None:
    contact = silent_at(100.0)
    asked = [ms for ms in range(0, 1_000, 10) if contact.may_probe(100.0 + ms / 1000)]
    assert asked == [250, 500, 750]


def test_a_miss_too_late_to_count_puts_no_probe_off() -> None:
    contact = silent_at(100.0)
    contact.missed(100.2)
    assert contact.may_probe(100.25)


def test_an_answer_in_time_breaks_the_row() -> None:
    contact = SideContact(DEADLINE_S, PROBE_S)
    for _ in range(2 * MISSES_TO_DEGRADE):
        contact.missed(100.0)
        contact.exchanged(2 * DEADLINE_S, in_time=True)
    assert not contact.is_silent


def test_a_silent_index_is_used_again_once_an_exchange_is_quick() -> None:
    contact = silent_at(100.0)
    contact.exchanged(DEADLINE_S, in_time=True)
    assert contact.is_silent
    contact.exchanged(DEADLINE_S / 2, in_time=True)
    assert not contact.is_silent


def test_a_store_that_is_full_again_and_again_is_left_alone_for_longer() -> None:
    contact = SideContact(DEADLINE_S, PROBE_S)
    now_s, pauses = 100.0, []
    for _ in range(9):
        assert contact.may_tell(now_s)
        pauses.append(contact.was_full(now_s))
        assert contact.was_full(now_s) == pauses[-1], "the same fullness"
        assert not contact.may_tell(now_s + pauses[-1] - 0.1)
        now_s += 2.5 * pauses[-1]
    assert pauses == [min(FULL_S * 2**times, LONGEST_FULL_S) for times in range(9)]
    assert contact.was_full(now_s + 1.5 * LONGEST_FULL_S) == FULL_S


def test_who_takes_a_loss_so_asks_no_more_until_an_exchange_is_quick() -> None:
    contact = SideContact(DEADLINE_S, PROBE_S)
    contact.lost()
    assert contact.is_silent
    contact.exchanged(DEADLINE_S / 2, in_time=True)
    assert not contact.is_silent
