"""What a gateway holds in one pool, and what of it the store has yet to be told.

Request tasks change it and go on; the writer takes what has gathered. What the store answers is entered here too, so
that `live` is at any moment what the gateway holds, whatever is on its way.
"""

from __future__ import annotations

import asyncio
from random import Random

from scheduler.batch import Batch
from scheduler.decision import Ask, Candidate
from scheduler.messages import Phase
from scheduler.pending import Pending, StoreAnswer
from scheduler.reservation import ID_MODULUS, Reservation

GATHER_S = 0.010
"""How long an advance or a release may wait for company."""


class Holdings:
    """`live`: the reservations by id. `batch`: what the store has yet to be told; `wake` is set when it is due."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.live: dict[int, Reservation] = {}
        self.batch = Batch()
        self.wake = asyncio.Event()

    def ask_to_place(self, ask: Ask, instead_of: int | None = None) -> Pending:
        """Has the store asked for a new reservation; `instead_of`, if it is live, is given back from now on."""
        former = None if instead_of is None or self.live.pop(instead_of, None) is None else instead_of
        answer = asyncio.get_running_loop().create_future()
        pending = Pending(self._fresh_id(), ask, answer=answer, instead_of=former)
        self.batch.place(pending)
        self.wake.set()
        return pending

    def ask_to_rebind(self, reservation_id: int, ask: Ask) -> Pending:
        """Has the store asked for the decode leg of a live reservation, whose prefill is done."""
        held = self.live[reservation_id] = self.live[reservation_id].at(Phase.PREFILL_DONE)
        pending = Pending(reservation_id, ask, held, answer=asyncio.get_running_loop().create_future())
        self.batch.rebind(pending)
        self.wake.set()
        return pending

    def adopt(self, reservation: Reservation) -> int:
        """Enters a reservation that was placed without asking the store; returns its id."""
        reservation_id = self._fresh_id()
        self._state(reservation_id, reservation)
        return reservation_id

    def bind(self, reservation_id: int, decode: Candidate) -> None:
        """Gives a pair whose prefill is done another decode leg without asking the store."""
        if reservation_id in self.live:
            self._state(reservation_id, self.live[reservation_id].bound_to(decode))

    def advance(self, reservation_id: int, phase: Phase) -> None:
        """Moves a reservation to a later phase; one that is not live is left alone."""
        former = self.live.get(reservation_id)
        if former is not None and phase > former.phase:
            self._state(reservation_id, former.at(phase))

    def decode_waits(self, reservation_id: int) -> None:
        """The decode rank of a pair has the request; left alone where its prefill is done, or where it is not live."""
        held = self.live.get(reservation_id)
        if held is not None and held.phase < Phase.PREFILL_DONE:
            self._state(reservation_id, held.with_decode_waiting())

    def release(self, reservation_id: int) -> None:
        """Gives a reservation back; idempotent."""
        if self.live.pop(reservation_id, None) is not None:
            self.batch.release(reservation_id)
            self._wake_soon()

    def answer(self, pending: Pending, answer: StoreAnswer) -> None:
        """The store's answer to a pending ask has come."""
        if pending.held is None:
            self._placed(pending, answer)
        else:
            self._rebound(pending, answer.reservation or pending.held, answer)

    def take_back(self, pending: Pending) -> None:
        """Nobody awaits this ask any more: what it reserved, or still will, is given back.

        Of a rebinding, the store is told again which leg we go on with.
        """
        unanswered = pending.answer.cancel() or pending.answer.cancelled()
        if pending.held is not None:
            if pending.reservation_id in self.live:
                self._state(pending.reservation_id, self.live[pending.reservation_id])
        elif not unanswered and pending.answer.result() is not None:
            self.release(pending.reservation_id)

    def _placed(self, pending: Pending, answer: StoreAnswer) -> None:
        if answer.reservation is not None:
            self.live[pending.reservation_id] = answer.reservation
        if pending.answer.done():
            self.release(pending.reservation_id)
        else:
            pending.answer.set_result(answer)

    def _rebound(self, pending: Pending, written: Reservation, answer: StoreAnswer) -> None:
        """The store has written this; whoever gave up waiting has had our own idea stated after it."""
        held = self.live.get(pending.reservation_id)
        if held is None:
            pending.give_up()
        elif not pending.answer.done():
            pending.answer.set_result(answer)
            now = self.live[pending.reservation_id] = written.at(held.phase)
            if now != written or pending.reservation_id in self.batch.stated:  # it went on with the legs it had
                self._state(pending.reservation_id, now)

    def _state(self, reservation_id: int, reservation: Reservation) -> None:
        self.live[reservation_id] = reservation
        self.batch.state(reservation_id, reservation)
        self._wake_soon()

    def _fresh_id(self) -> int:
        return self._rng.randrange(1, ID_MODULUS)

    def _wake_soon(self) -> None:
        if not self.batch.timer_set and not self.wake.is_set():
            self.batch.timer_set = True
            asyncio.get_running_loop().call_later(GATHER_S, self.wake.set)
