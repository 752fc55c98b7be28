"""A gateway's conversation with the store in virtual time, as scheduler/writer.py and holdings.py lead it.

One exchange at a time. An ask goes at once, or with the next exchange where one is under way; what is merely told
gathers for 10 ms, or goes with the next ask. After a loss the live set is stated anew (scripts/resync.lua).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from scheduler import calls
from scheduler.batch import Batch
from scheduler.calls import Call, Reply
from scheduler.contact import Contact
from scheduler.decision import Ask, Candidate
from scheduler.gateway_name import Names
from scheduler.holdings import GATHER_S
from scheduler.keys import PoolKeys
from scheduler.messages import Phase
from scheduler.pending import Question, StoreAnswer
from scheduler.reservation import ID_MODULUS, Reservation
from scheduler.settings import SchedulerSettings
from scheduler.writer import PIECE
from simulator.cluster.clock import EventQueue
from simulator.cluster.store_link import StoreLink

LEASE_MS = 1_000_000_000
"""Longer than any simulation: no gateway dies here, so that none need renew."""
DEADLINE_S = SchedulerSettings().place_deadline_ms / 1000
PROBE_S = SchedulerSettings().probe_ms / 1000

TakeAnswer = Callable[[StoreAnswer | None], None]
"""Gets None where the store gave no answer in time."""


class ResyncError(Exception):
    """The store refused a call, though nothing was lost: the simulation is wrong."""


class _Asked:
    """A question, and whoever awaits its answer, which is given once."""

    __slots__ = ("_take", "is_awaited", "question")

    def __init__(self, question: Question, take: TakeAnswer) -> None:
        self.question, self._take, self.is_awaited = question, take, True

    def answer(self, answer: StoreAnswer | None) -> None:
        if self.is_awaited:
            self.is_awaited = False
            self._take(answer)


class GatewayWriter:
    """`live`: what the gateway holds, by id. Ids are drawn from `rng`. `degraded`: the store cannot be asked."""

    def __init__(
        self, queue: EventQueue, link: StoreLink, keys: PoolKeys, *, epoch: str, gateway: str, rng: Random
    ) -> None:
        self._queue, self._link, self._keys, self._rng = queue, link, keys, rng
        self.live: dict[int, Reservation] = {}
        self._batch = Batch()
        self._places: list[_Asked] = []
        self._rebinds: list[_Asked] = []
        self._is_exchanging = self._is_due = self._has_timer = False
        self._sent_s = 0.0
        self._contact = Contact(DEADLINE_S)
        self._names = Names(gateway, LEASE_MS)
        self._names.enter(epoch)
        self._names.begin()
        link.now(calls.resync(keys, self._names.next_head(), (), {}))
        self._names.settle()
        self._contact.exchanged(0.0)

    @property
    def degraded(self) -> bool:
        """Whether the store cannot be asked (scheduler/contact.py)."""
        return self._contact.degraded

    @property
    def epoch(self) -> str:
        """The pool's, as it was when the live set was last stated."""
        return self._names.epoch

    @property
    def counters(self) -> Counter[str]:
        """See scheduler/contact.py."""
        return self._contact.counters

    def place(self, ask: Ask, take: TakeAnswer) -> None:
        """Asks for a new reservation."""
        self._places.append(self._asked(Question(self._fresh_id(), ask), take))
        self._flush()

    def rebind(self, reservation_id: int, ask: Ask, take: TakeAnswer) -> None:
        """The prefill of a pair is done; asks for its decode leg anew."""
        held = self.live[reservation_id] = self.live[reservation_id].at(Phase.PREFILL_DONE)
        self._rebinds.append(self._asked(Question(reservation_id, ask, held), take))
        self._flush()

    def adopt(self, reservation: Reservation) -> int:
        """Enters a reservation that was placed without asking the store; returns its id."""
        reservation_id = self._fresh_id()
        self._state(reservation_id, reservation)
        return reservation_id

    def bind(self, reservation_id: int, decode: Candidate) -> None:
        """Gives a pair whose prefill is done another decode leg without asking the store."""
        self._state(reservation_id, self.live[reservation_id].bound_to(decode))

    def advance(self, reservation_id: int, phase: Phase) -> None:
        """Moves a reservation to a later phase."""
        self._state(reservation_id, self.live[reservation_id].at(phase))

    def release(self, reservation_id: int) -> None:
        """Gives a reservation back."""
        del self.live[reservation_id]
        self._batch.release(reservation_id)
        self._flush_soon()

    def _fresh_id(self) -> int:
        return self._rng.randrange(1, ID_MODULUS)

    def _asked(self, question: Question, take: TakeAnswer) -> _Asked:
        asked = _Asked(question, take)
        if self._link.may_be_lost:
            self._queue.after(DEADLINE_S, partial(self._give_up, asked))
        return asked

    def _give_up(self, asked: _Asked) -> None:
        if asked.is_awaited:
            self._contact.missed()
            asked.answer(None)

    def _state(self, reservation_id: int, reservation: Reservation) -> None:
        self.live[reservation_id] = reservation
        self._batch.state(reservation_id, reservation)
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
        asked = [each for each in (*self._rebinds, *self._places) if each.is_awaited]
        self._rebinds, self._places, self._is_due = [], [], False
        told += [self._call(each.question) for each in asked]
        if told:
            self._send(told, partial(self._take, asked), partial(self._lost, asked))

    def _send(self, told: Sequence[Call], take: Callable[[list[Reply]], None], lost: Callable[[], None]) -> None:
        self._is_exchanging = True
        self._sent_s = self._queue.now_s
        self._link.send(told, take, lost)

    def _call(self, question: Question) -> Call:
        head, reservation_id, ask = self._names.next_head(), question.reservation_id, question.ask
        if question.held:
            return calls.rebind(self._keys, head, reservation_id, question.held.record(), ask)
        return calls.place(self._keys, head, reservation_id, ask)

    def _take(self, asked: list[_Asked], replies: list[Reply]) -> None:
        if any(reply[0] == b"resync" for reply in replies):
            self._refused(asked)
            return
        self._is_exchanging = False
        self._contact.exchanged(self._queue.now_s - self._sent_s)
        for each, reply in zip(asked, replies[len(replies) - len(asked) :], strict=True):
            self._answer(each, StoreAnswer.read(each.question, reply))
        if self._is_due:
            self._flush()

    def _answer(self, asked: _Asked, answer: StoreAnswer) -> None:
        """Enter what the store has written; where nobody waits any more, it is told again what holds."""
        reservation_id, written = answer.reservation_id, answer.reservation
        if asked.is_awaited:
            self._contact.answered()
            if written:
                self.live[reservation_id] = written
            asked.answer(answer)
        elif not asked.question.held and written:
            self._batch.release(reservation_id)
            self._flush_soon()
        elif reservation_id in self.live:
            self._state(reservation_id, self.live[reservation_id])

    def _refused(self, asked: Sequence[_Asked]) -> None:
        """The store's idea of what we hold is not ours, for it began anew."""
        if not self._link.may_be_lost:
            raise ResyncError
        self._abandon(asked)
        self._queue.after(GATHER_S, self._join)

    def _lost(self, asked: Sequence[_Asked]) -> None:
        """No answer will come; nobody need wait for it."""
        self._contact.degraded = True
        self._abandon(asked)
        self._queue.after(PROBE_S, self._join)

    def _abandon(self, asked: Sequence[_Asked]) -> None:
        waiting = [*asked, *self._rebinds, *self._places]
        self._rebinds, self._places = [], []
        for each in waiting:
            each.answer(None)

    def _join(self) -> None:
        """State the whole live set under a new name, in the pool's epoch or in one that begins."""
        fresh = f"{self._rng.getrandbits(64):016x}"
        self._send([calls.open_pool(self._keys, fresh)], self._state_all, partial(self._lost, ()))

    def _state_all(self, replies: list[Reply]) -> None:
        self._names.enter(replies[0].decode())
        former = self._names.begin()
        self._batch.forget_states()
        records = [(reservation_id, held.record()) for reservation_id, held in self.live.items()]
        pieces = [dict(records[first : first + PIECE]) for first in range(0, max(1, len(records)), PIECE)]
        told = [calls.resync(self._keys, self._names.next_head(), former, piece) for piece in pieces]
        self._send(told, self._joined, partial(self._lost, ()))

    def _joined(self, replies: list[Reply]) -> None:
        if any(reply[0] == b"resync" for reply in replies):
            self._refused(())
            return
        self._names.settle()
        self._contact.answered()
        self._take([], replies)
