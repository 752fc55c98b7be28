"""Tickets to probe: one request at a time, kept until it is over."""

from __future__ import annotations

import pytest

from scheduler.breaker import TICKET_MS
from scheduler.decision import Leg, LegKind, Place, Reject
from scheduler.reservation import Reservation, reserve
from scheduler.tickets import Answer, Tickets
from tests.samples import ask, card, single

NOW = 1_000
OUT = frozenset({"a", "b"})


def placed(*ranks: str, reservation: int = 7) -> Place:
    legs = tuple(Leg(kind=LegKind.WHOLE, card=card(rank)) for rank in ranks)
    return Place(reservation=reservation, legs=legs, cost_s=0.0, first_token_s=0.0)


def on(*ranks: str) -> Reservation:
    return reserve(ask(), tuple(single(rank) for rank in ranks))


def with_ticket(held: dict[int, Reservation]) -> Tickets:
    tickets = Tickets(held)
    tickets.won("a", "i1", NOW + TICKET_MS)
    return tickets


def test_without_a_ticket_a_rank_is_left_out() -> None:
    with Tickets({}).trial(OUT, NOW) as trial:
        assert trial.out == OUT


def test_while_one_request_is_placed_no_other_has_the_ticket() -> None:
    tickets = with_ticket({7: on("a")})
    with tickets.trial(OUT, NOW) as trial:
        assert trial.out == {"b"}
        with tickets.trial(OUT, NOW) as other:
            assert other.out == OUT
        trial.ends(placed("c"))
    with tickets.trial(OUT, NOW) as trial:
        assert trial.out == {"b"}, "it went elsewhere"
        trial.ends(placed("a"))
    with tickets.trial(OUT, NOW) as trial:
        assert trial.out == OUT
    assert tickets.in_use() == {"a": "i1"}
    assert (tickets.probed_by(7), tickets.probed_by(8)) == (frozenset({"a"}), frozenset())


def test_a_placement_that_was_cancelled_or_refused_used_no_ticket() -> None:
    tickets = with_ticket({})
    with tickets.trial(OUT, NOW):
        pass
    with tickets.trial(OUT, NOW) as trial:
        trial.ends(Reject(reason="none"))
    with tickets.trial(OUT, NOW) as trial:
        assert trial.out == {"b"}


def probing(held: dict[int, Reservation], reservation: int = 7) -> Tickets:
    tickets = with_ticket(held)
    with tickets.trial(OUT, NOW) as trial:
        trial.ends(placed("a", reservation=reservation))
    return tickets


def test_the_answer_of_the_probe_uses_the_ticket_up() -> None:
    tickets = probing({7: on("a")})
    assert not tickets.answered("a", "i0", 7, well=True)
    assert tickets.answered("a", "i1", 7, well=True)
    assert not tickets.answered("a", "i1", 7, well=True)


@pytest.mark.parametrize("reservation", [8, None])
def test_an_answer_to_another_request_uses_no_ticket_up(reservation: int | None) -> None:
    for tickets in (with_ticket({}), probing({7: on("a")})):
        assert not tickets.answered("a", "i1", reservation, well=True)
        assert tickets.answers(NOW) == {}
    assert tickets.in_use() == {"a": "i1"}


def test_a_half_open_rank_that_is_not_left_out_is_probed_too() -> None:
    """Of a role of which half is left out already."""
    tickets = with_ticket({7: on("a")})
    with tickets.trial(frozenset({"b"}), NOW) as trial:
        assert trial.out == {"b"}
        trial.ends(placed("a"))
    assert tickets.answered("a", "i1", 7, well=True)


def test_an_answer_is_kept_until_it_is_told_or_its_ticket_would_have_ended() -> None:
    tickets = probing({7: on("a")})
    tickets.answered("a", "i1", 7, well=False)
    assert tickets.answers(NOW + TICKET_MS) == {"a": Answer("i1", False, NOW + TICKET_MS)}
    assert tickets.has_answer("a")
    assert tickets.answers(NOW + TICKET_MS + 1) == {}
    assert not tickets.has_answer("a")


@pytest.mark.parametrize("all_end", [False, True])
def test_an_answer_that_was_told_or_is_of_another_epoch_is_kept_no_longer(all_end: bool) -> None:
    tickets = probing({7: on("a")})
    tickets.answered("a", "i1", 7, well=True)
    if all_end:
        tickets.forget()
    else:
        tickets.told("a")
    assert tickets.answers(NOW) == {}


def test_a_probe_that_ended_without_an_answer_is_given_back() -> None:
    held = {7: on("a")}
    tickets = with_ticket(held)
    with tickets.trial(OUT, NOW) as trial:
        trial.ends(placed("a"))
    assert tickets.unanswered() == {}
    held.clear()
    assert tickets.unanswered() == {"a": "i1"}
    assert tickets.unanswered() == {}


def test_a_probe_whose_decode_rank_is_another_by_now_is_given_back() -> None:
    held = {7: on("b", "a")}
    tickets = with_ticket(held)
    with tickets.trial(OUT, NOW) as trial:
        trial.ends(placed("b", "a"))
    assert tickets.unanswered() == {}
    held[7] = on("b", "c")
    assert tickets.unanswered() == {"a": "i1"}


def test_a_ticket_that_nobody_used_ends_and_one_in_use_does_not() -> None:
    tickets = probing({7: on("a")})
    tickets.won("b", "i1", NOW + TICKET_MS)
    with tickets.trial(OUT, NOW + TICKET_MS) as trial:
        assert trial.out == OUT
    tickets.drop_old(NOW + TICKET_MS + 1)
    assert tickets.in_use() == {"a": "i1"}
    with tickets.trial(OUT, NOW) as trial:
        assert trial.out == OUT, "the other one is gone"


def test_a_ticket_that_was_renewed_is_the_same() -> None:
    tickets = with_ticket({7: on("a")})
    with tickets.trial(OUT, NOW) as trial:
        trial.ends(placed("a"))
    tickets.won("a", "i1", NOW + 2 * TICKET_MS)
    assert tickets.in_use() == {"a": "i1"}
    tickets.won("a", "i2", NOW + 2 * TICKET_MS)
    assert tickets.in_use() == {}
    tickets.lost("a")
    tickets.forget()
