"""The tickets of one gateway to probe half-open ranks: each is good for one request at a time.

A ticket is taken while a placement is decided, and is in use once the request was placed on its rank; in use it is
kept until the rank has answered, or the reservation is gone or on another rank. The answer is kept until the store has
it, or the ticket would have ended there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

from scheduler.breaker import TICKET_MS
from scheduler.decision import Decision, Place
from scheduler.reservation import Reservation

MARGIN_MS = TICKET_MS / 6
"""A ticket is no longer begun with so shortly before its end."""


def _nothing() -> None: ...


class _Ticket:
    def __init__(self, incarnation: str, until_ms: float) -> None:
        self.incarnation, self.until_ms = incarnation, until_ms
        self.is_taken = False
        self.reservation: int | None = None


class Answer(NamedTuple):
    """How a probe of a life went; of use until then."""

    incarnation: str
    well: bool
    until_ms: float


class Trial:
    """One placement that may use these tickets, by rank, while the context is open; `out` are the ranks that it is not
    to go to. `on_use` is called when it is over and used one.
    """

    def __init__(self, out: frozenset[str], tickets: Mapping[str, _Ticket], on_use: Callable[[], None]) -> None:
        self.out = out.difference(tickets)
        self._tickets, self._on_use = tickets, on_use
        self._placed: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Nobody else may use the tickets."""
        for ticket in self._tickets.values():
            ticket.is_taken = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Those are in use on whose rank the request was placed; the others are free again."""
        for name, ticket in self._tickets.items():
            ticket.is_taken = False
            ticket.reservation = self._placed.get(name)
        if self._placed:
            self._on_use()

    def ends(self, decision: Decision) -> Decision:
        """So it was decided."""
        if isinstance(decision, Place) and self._tickets:
            self._placed = {leg.card.rank: decision.reservation for leg in decision.legs}
        return decision


class Tickets:
    """Those that this gateway holds, by rank. `held` are the reservations that are live."""

    def __init__(self, held: Mapping[int, Reservation]) -> None:
        self._held = held
        self._tickets: dict[str, _Ticket] = {}
        self._answers: dict[str, Answer] = {}

    def trial(self, out: frozenset[str], now_ms: float, on_use: Callable[[], None] = _nothing) -> Trial:
        """A placement that may probe those ranks, left out or not, whose tickets nobody uses."""
        free = {name: ticket for name, ticket in self._tickets.items() if _is_free(ticket, now_ms)}
        return Trial(out, free, on_use)

    def probed_by(self, reservation: int) -> frozenset[str]:
        """The ranks that a request is the probe of."""
        return frozenset(name for name, ticket in self._tickets.items() if ticket.reservation == reservation)

    def won(self, rank: str, incarnation: str, until_ms: float) -> None:
        """The store says so, or says so again."""
        ticket = self._tickets.get(rank)
        if ticket is None or ticket.incarnation != incarnation:
            self._tickets[rank] = _Ticket(incarnation, until_ms)
        else:
            ticket.until_ms = until_ms

    def lost(self, rank: str) -> None:
        """The ticket is another's, or there is none any more."""
        self._tickets.pop(rank, None)

    def answered(self, rank: str, incarnation: str, reservation: int | None, *, well: bool) -> bool:
        """Whether a rank's answer to the request with this reservation is the one that its breaker waits for.

        The ticket is used up by it. Any other may be to what was sent before the breaker opened.
        """
        ticket = self._tickets.get(rank)
        if ticket is None or reservation is None:
            return False
        if ticket.incarnation != incarnation or ticket.reservation != reservation:
            return False
        del self._tickets[rank]
        self._answers[rank] = Answer(incarnation, well, ticket.until_ms)
        return True

    def answers(self, now_ms: float) -> dict[str, Answer]:
        """Those that the store is to be told, by rank."""
        self._answers = {name: answer for name, answer in self._answers.items() if now_ms <= answer.until_ms}
        return self._answers.copy()

    def has_answer(self, rank: str) -> bool:
        """Whether the store is to be told how the rank's probe went."""
        return rank in self._answers

    def told(self, rank: str) -> None:
        """The store has the rank's answer."""
        self._answers.pop(rank, None)

    def in_use(self) -> dict[str, str]:
        """The incarnations of ranks that are being probed, by rank."""
        return {name: ticket.incarnation for name, ticket in self._tickets.items() if ticket.reservation is not None}

    def unanswered(self) -> dict[str, str]:
        """Those of them whose request ended, or went elsewhere, without their answer; they are no tickets any more."""
        ended = {name for name, ticket in self._tickets.items() if not self._is_awaited(name, ticket)}
        return {name: self._tickets.pop(name).incarnation for name in ended}

    def drop_old(self, now_ms: float) -> None:
        """Forget those that nobody used in time."""
        for name in [name for name, ticket in self._tickets.items() if _is_idle(ticket) and now_ms > ticket.until_ms]:
            del self._tickets[name]

    def forget(self) -> None:
        """None is valid any more."""
        self._tickets.clear()
        self._answers.clear()

    def _is_awaited(self, rank: str, ticket: _Ticket) -> bool:
        if ticket.reservation is None:
            return True
        held = self._held.get(ticket.reservation)
        return held is not None and any(leg.rank == rank for leg in held.legs)


def _is_idle(ticket: _Ticket) -> bool:
    return ticket.reservation is None and not ticket.is_taken


def _is_free(ticket: _Ticket, now_ms: float) -> bool:
    return _is_idle(ticket) and now_ms < ticket.until_ms - MARGIN_MS
