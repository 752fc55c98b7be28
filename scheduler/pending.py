"""A question to the store, one that awaits its answer, and the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from scheduler.decision import Ask, PricedRank
from scheduler.reservation import Reservation, reserve


class StoreAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The store's answer to an ask: a reservation, or none because all are full (`wait`) or none can be placed on.

    Of a rebinding it is the reservation with the decode leg to go on with.
    """

    reservation_id: int
    reservation: Reservation | None = None
    wait: bool = False
    cost_s: float = 0.0
    receipt: tuple[PricedRank, ...] = ()

    @staticmethod
    def read(question: Question, reply: list[Any]) -> StoreAnswer:
        """Reads a reply of place.lua or rebind.lua."""
        if reply[0] != b"place":
            return StoreAnswer(reservation_id=question.reservation_id, wait=reply[0] == b"wait")
        ask = question.ask
        candidates = (*ask.singles, *ask.prefills, *ask.decodes)
        chosen = tuple(candidates[place - 1] for place in reply[2:4] if place)
        loads = msgspec.json.decode(reply[4]) if reply[4] else []
        return StoreAnswer(
            reservation_id=question.reservation_id,
            reservation=question.held.bound_to(chosen[0]) if question.held else reserve(ask, chosen),
            cost_s=float(reply[1]),
            receipt=tuple(
                PricedRank(
                    rank=candidate.rank,
                    kind=candidate.kind,
                    queued_tokens=row[0],
                    requests=row[1],
                    kv_tokens=row[2],
                    report_age_ms=int(row[3]),
                    cost_s=row[4],
                )
                for candidate, row in zip(candidates, loads, strict=False)
                if row
            ),
        )


class Question(msgspec.Struct, eq=False):
    """An ask of the store.

    `held` is the reservation whose decode leg is asked for anew; None where a new reservation is.
    """

    reservation_id: int
    ask: Ask
    held: Reservation | None = None


class Pending(Question, eq=False, kw_only=True):
    """A question that awaits its answer; None answers it when the store was lost."""

    answer: asyncio.Future[StoreAnswer | None]

    def give_up(self) -> None:
        """Nobody need wait for an answer any more."""
        if not self.answer.done():
            self.answer.set_result(None)
