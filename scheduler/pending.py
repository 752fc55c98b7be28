"""A question to the store, one that awaits its answer, and the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from scheduler.decision import Ask, Candidate, PricedRank
from scheduler.reservation import Reservation, reserve


class StoreAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The store's answer to an ask: a reservation, or none because all are full (`wait`) or none can be placed on.

    Of a rebinding it is the reservation with the decode leg to go on with. `legs` are the positions of the chosen
    candidates in the ask, from 1 on. If asked to explain, `receipt` has what was seen of each candidate that can be
    placed on, and `rows` what that was read from (scripts/receipt.lua).
    """

    reservation_id: int
    reservation: Reservation | None = None
    wait: bool = False
    cost_s: float = 0.0
    legs: tuple[int, ...] = ()
    receipt: tuple[PricedRank, ...] = ()
    rows: tuple[bytes, ...] = ()

    @staticmethod
    def read(question: Question, reply: list[Any]) -> StoreAnswer:
        """Reads a reply of place.lua or rebind.lua."""
        ask = question.ask
        candidates = (*ask.singles, *ask.prefills, *ask.decodes)
        known: dict[str, Any] = {"reservation_id": question.reservation_id}
        if len(reply) > 5:
            known |= {"receipt": _priced(candidates, reply[4]), "rows": tuple(reply[5])}
        if reply[0] != b"place":
            return StoreAnswer(wait=reply[0] == b"wait", **known)
        legs = tuple(place for place in reply[2:4] if place)
        chosen = tuple(candidates[place - 1] for place in legs)
        return StoreAnswer(
            reservation=question.held.bound_to(chosen[0]) if question.held else reserve(ask, chosen),
            cost_s=float(reply[1]),
            legs=legs,
            **known,
        )


def _priced(candidates: Sequence[Candidate], loads: bytes) -> tuple[PricedRank, ...]:
    """None where a row that is not ours had a number that JSON has not; some servers spell it all the same."""
    try:
        rows = zip(candidates, msgspec.json.decode(loads), strict=False)
    except msgspec.DecodeError:
        return ()
    return tuple(
        PricedRank(
            rank=candidate.rank,
            kind=candidate.kind,
            queued_tokens=row[0],
            requests=row[1],
            kv_tokens=row[2],
            report_age_ms=int(row[3]),
            cost_s=row[4],
        )
        for candidate, row in rows
        if row
    )


class Question(msgspec.Struct, eq=False):
    """An ask of the store.

    `held` is the reservation whose decode leg is asked for anew; None where a new reservation is.
    """

    reservation_id: int
    ask: Ask
    held: Reservation | None = None


class Pending(Question, eq=False, kw_only=True):
    """A question that awaits its answer; None answers it when the store was lost.

    `instead_of` is the reservation that a new one is asked for instead of: the same call gives it back.
    """

    answer: asyncio.Future[StoreAnswer | None]
    instead_of: int | None = None

    def give_up(self) -> None:
        """Nobody need wait for an answer any more."""
        if not self.answer.done():
            self.answer.set_result(None)
