"""What a gateway has to tell the store next, gathered; and how it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from scheduler import calls
from scheduler.calls import Call, Head
from scheduler.decision import Ask, PricedRank
from scheduler.keys import PoolKeys
from scheduler.messages import Phase
from scheduler.reservation import Reservation, reserve

PIECE = 100
"""Reservations told in one call, so that a gateway that has thousands to tell of does not hold the store for long."""

_Item = TypeVar("_Item")


class StoreAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The store's answer to an ask: a reservation, or none because all are full (`wait`) or none can be placed on."""

    reservation_id: int
    reservation: Reservation | None = None
    wait: bool = False
    cost_s: float = 0.0
    receipt: tuple[PricedRank, ...] = ()

    @staticmethod
    def read(pending: Pending, reply: list[Any]) -> StoreAnswer:
        """Reads a reply of place.lua."""
        if reply[0] != b"place":
            return StoreAnswer(reservation_id=pending.reservation_id, wait=reply[0] == b"wait")
        ask = pending.ask
        candidates = (*ask.singles, *ask.prefills, *ask.decodes)
        loads = msgspec.json.decode(reply[4]) if reply[4] else []
        return StoreAnswer(
            reservation_id=pending.reservation_id,
            reservation=reserve(ask, tuple(candidates[place - 1] for place in reply[2:4] if place)),
            cost_s=float(reply[1]),
            receipt=tuple(
                PricedRank(
                    rank=candidate.rank,
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


class Pending(msgspec.Struct, eq=False):
    """An ask that awaits its answer; None answers it when the store was lost."""

    reservation_id: int
    ask: Ask
    answer: asyncio.Future[StoreAnswer | None]


def _pieces(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[first : first + PIECE] for first in range(0, len(items), PIECE))


class Batch:
    """Asks in order, the latest state of each reservation that changed, and the ids to release."""

    def __init__(self) -> None:
        self.asks: list[Pending] = []
        self.stated: dict[int, Reservation] = {}
        self.released: list[int] = []
        self.timer_set = False

    def state(self, reservation_id: int, reservation: Reservation) -> None:
        """The reservation is this now; a later word replaces an earlier one."""
        self.stated[reservation_id] = reservation

    def release(self, reservation_id: int) -> None:
        """The reservation is no more. That its prefill was done is told all the same: the next prompt runs since."""
        stated = self.stated.get(reservation_id)
        if stated and stated.phase < Phase.PREFILL_DONE:
            del self.stated[reservation_id]
        self.released.append(reservation_id)

    def forget_states(self) -> None:
        """A resync says all this anew."""
        self.stated, self.released = {}, []

    def take(self) -> Batch:
        """All that has gathered, as a batch of its own; this one starts empty."""
        full = Batch()
        full.asks = [pending for pending in self.asks if not pending.answer.done()]
        full.stated, full.released = self.stated, self.released
        self.asks, self.timer_set = [], False
        self.forget_states()
        return full

    def abandon(self) -> None:
        """The store was lost: nobody need wait for it."""
        for pending in self.asks:
            if not pending.answer.done():
                pending.answer.set_result(None)
        self.asks = []

    def calls(self, keys: PoolKeys, next_head: Callable[[], Head]) -> list[Call]:
        """The script calls, releases before asks so that these see the room."""
        told = []
        if self.stated:
            records = {reservation_id: stated.record() for reservation_id, stated in self.stated.items()}
            told += [calls.advance(keys, next_head(), dict(piece)) for piece in _pieces(list(records.items()))]
        told += [calls.release(keys, next_head(), piece) for piece in _pieces(self.released)]
        told += [calls.place(keys, next_head(), pending.reservation_id, pending.ask) for pending in self.asks]
        return told
