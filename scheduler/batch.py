"""What a gateway has to tell the store next, gathered; and how it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from scheduler import calls
from scheduler.calls import Call, Head
from scheduler.keys import PoolKeys
from scheduler.messages import Phase
from scheduler.pending import Pending
from scheduler.reservation import Reservation

PIECE = 100
"""Reservations told in one call, so that a gateway that has thousands to tell of does not hold the store for long."""

_Item = TypeVar("_Item")


def _pieces(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[first : first + PIECE] for first in range(0, len(items), PIECE))


class Batch:
    """Asks in order, the latest state of each reservation that changed, and the ids to release."""

    def __init__(self) -> None:
        self.asks: list[Pending] = []
        self.rebinds: dict[int, Pending] = {}
        self.stated: dict[int, Reservation] = {}
        self.released: list[int] = []
        self.timer_set = False

    @property
    def awaited(self) -> list[Pending]:
        """Everything that has an answer, in the order in which it is told."""
        return [*self.rebinds.values(), *self.asks]

    def place(self, pending: Pending) -> None:
        """Asks for a new reservation. What it is asked for instead of is no more, as after `release`."""
        if pending.instead_of is not None:
            self._forget(pending.instead_of)
        self.asks.append(pending)

    def state(self, reservation_id: int, reservation: Reservation) -> None:
        """The reservation is this now; a later word replaces an earlier one."""
        self.stated[reservation_id] = reservation

    def rebind(self, pending: Pending) -> None:
        """Asks for the decode leg of `pending.held`; asked again, an earlier question gets no answer."""
        self._give_up_rebind(pending.reservation_id)
        self.rebinds[pending.reservation_id] = pending

    def release(self, reservation_id: int) -> None:
        """The reservation is no more. That its prefill was done is told all the same: the next prompt runs since."""
        self._forget(reservation_id)
        self.released.append(reservation_id)

    def forget_states(self) -> None:
        """A resync says all this anew."""
        self.stated, self.released = {}, []

    def take(self) -> Batch:
        """All that has gathered, as a batch of its own; this one starts empty."""
        full = Batch()
        self._release_former(pending for pending in self.asks if pending.answer.done())
        full.asks = [pending for pending in self.asks if not pending.answer.done()]
        full.rebinds = {each: pending for each, pending in self.rebinds.items() if not pending.answer.done()}
        full.stated, full.released = self.stated, self.released
        self.asks, self.rebinds, self.timer_set = [], {}, False
        self.forget_states()
        return full

    def abandon(self) -> None:
        """The store was lost: nobody need wait for it."""
        for pending in self.awaited:
            pending.give_up()
        self._release_former(self.asks)
        self.asks, self.rebinds = [], {}

    def calls(self, keys: PoolKeys, next_head: Callable[[], Head]) -> list[Call]:
        """The script calls, what gives back before what takes, so that asks see the room."""
        told = []
        if self.stated:
            records = {reservation_id: stated.record() for reservation_id, stated in self.stated.items()}
            told += [calls.advance(keys, next_head(), dict(piece)) for piece in _pieces(list(records.items()))]
        told += [calls.release(keys, next_head(), piece) for piece in _pieces(self.released)]
        for pending in self.awaited:
            reservation_id, ask = pending.reservation_id, pending.ask
            if pending.held:
                told.append(calls.rebind(keys, next_head(), reservation_id, pending.held.record(), ask))
            else:
                told.append(calls.place(keys, next_head(), reservation_id, ask, pending.instead_of))
        return told

    def _release_former(self, unasked: Iterable[Pending]) -> None:
        """These will not be asked, so what they were to give back is given back without them."""
        self.released += [pending.instead_of for pending in unasked if pending.instead_of is not None]

    def _forget(self, reservation_id: int) -> None:
        """The reservation will be given back: of it is told at most that its prefill was done."""
        if given_up := self._give_up_rebind(reservation_id):
            self.stated[reservation_id] = given_up
        stated = self.stated.get(reservation_id)
        if stated and stated.phase < Phase.PREFILL_DONE:
            del self.stated[reservation_id]

    def _give_up_rebind(self, reservation_id: int) -> Reservation | None:
        """The reservation whose rebinding is not asked for any more, if there was one."""
        pending = self.rebinds.pop(reservation_id, None)
        if pending is None:
            return None
        pending.give_up()
        return pending.held
