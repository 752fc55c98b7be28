"""A gateway's conversation with the store in virtual time: as scheduler/writer.py leads it, where nothing is lost.

One exchange at a time. An ask goes at once, or with the next exchange where one is under way; what is merely told
gathers for 10 ms, or goes with the next ask.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import NamedTuple

from scheduler import calls
from scheduler.batch import Batch
from scheduler.calls import Call, Reply
from scheduler.decision import Ask
from scheduler.gateway_name import Names
from scheduler.holdings import GATHER_S
from scheduler.keys import PoolKeys
from scheduler.messages import Phase
from scheduler.pending import Question, StoreAnswer
from scheduler.reservation import ID_MODULUS, Reservation
from simulator.cluster.clock import EventQueue
from simulator.cluster.store_link import StoreLink

LEASE_MS = 1_000_000_000
"""Longer than any simulation: nobody dies here, so that nobody need renew."""

TakeAnswer = Callable[[StoreAnswer], None]


class ResyncError(Exception):
    """The store refused a call, though nothing was lost: the simulation is wrong."""


class _Asked(NamedTuple):
    question: Question
    take: TakeAnswer


class GatewayWriter:
    """`live`: what the gateway holds, by id. Ids are drawn from `rng`."""

    def __init__(
        self, queue: EventQueue, link: StoreLink, keys: PoolKeys, *, epoch: str, gateway: str, rng: Random
    ) -> None:
        self._queue, self._link, self._keys, self._rng = queue, link, keys, rng
        self.live: dict[int, Reservation] = {}
        self._batch = Batch()
        self._places: list[_Asked] = []
        self._rebinds: list[_Asked] = []
        self._is_exchanging = self._is_due = self._has_timer = False
        self._names = Names(gateway, LEASE_MS)
        self._names.enter(epoch)
        self._names.begin()
        link.now(calls.resync(keys, self._names.next_head(), (), {}))
        self._names.settle()

    def place(self, ask: Ask, take: TakeAnswer) -> None:
        """Asks for a new reservation."""
        self._places.append(_Asked(Question(self._rng.randrange(1, ID_MODULUS), ask), take))
        self._flush()

    def rebind(self, reservation_id: int, ask: Ask, take: TakeAnswer) -> None:
        """The prefill of a pair is done; asks for its decode leg anew."""
        held = self.live[reservation_id] = self.live[reservation_id].at(Phase.PREFILL_DONE)
        self._rebinds.append(_Asked(Question(reservation_id, ask, held), take))
        self._flush()

    def advance(self, reservation_id: int, phase: Phase) -> None:
        """Moves a reservation to a later phase."""
        self.live[reservation_id] = self.live[reservation_id].at(phase)
        self._batch.state(reservation_id, self.live[reservation_id])
        self._flush_soon()

    def release(self, reservation_id: int) -> None:
        """Gives a reservation back."""
        del self.live[reservation_id]
        self._batch.release(reservation_id)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._has_timer:
            self._has_timer = True
            self._queue.after(GATHER_S, self._time_is_up)

    def _time_is_up(self) -> None:
        self._has_timer = False
        self._flush()

    def _flush(self) -> None:
        self._is_due = True
        if self._is_exchanging:
            return
        told = self._batch.take().calls(self._keys, self._names.next_head)
        asked = [*self._rebinds, *self._places]
        self._rebinds, self._places, self._is_due = [], [], False
        told += [self._call(each.question) for each in asked]
        if told:
            self._is_exchanging = True
            self._link.send(told, partial(self._take, asked))

    def _call(self, question: Question) -> Call:
        head, reservation_id, ask = self._names.next_head(), question.reservation_id, question.ask
        if question.held:
            return calls.rebind(self._keys, head, reservation_id, question.held.record(), ask)
        return calls.place(self._keys, head, reservation_id, ask)

    def _take(self, asked: list[_Asked], replies: list[Reply]) -> None:
        if any(reply[0] == b"resync" for reply in replies):
            raise ResyncError
        self._is_exchanging = False
        for each, reply in zip(asked, replies[len(replies) - len(asked) :], strict=True):
            answer = StoreAnswer.read(each.question, reply)
            if answer.reservation:
                self.live[answer.reservation_id] = answer.reservation
            each.take(answer)
        if self._is_due:
            self._flush()
