"""A gateway's side of the ledger of one pool: one writer that owns the conversation with the store.

Request tasks never await a Redis socket. They leave an ask and await a future, or leave an advance or a release and go
on; the writer sends what has gathered as one batch, one batch at a time, each call with the next number. Whenever the
store's idea and ours may differ (a lost reply, a restart, a promotion), the whole live set is stated anew under a new
name (scripts/resync.lua), so no difference outlives the next exchange.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Literal

from scheduler import calls
from scheduler.batch import Batch, Pending, StoreAnswer
from scheduler.calls import Call, Reply
from scheduler.decision import Ask
from scheduler.errors import StoreRejectedError, StoreUnavailableError, StoreWrongTypeError
from scheduler.gateway_name import Names
from scheduler.keys import PoolKeys
from scheduler.messages import Phase
from scheduler.opening import open_epoch
from scheduler.reaping import Reaper, reap
from scheduler.reservation import ID_MODULUS, Reservation
from scheduler.settings import SchedulerSettings
from scheduler.store import Store

GATHER_S = 0.010
"""How long an advance or a release may wait for company."""
PIECE = 500
"""Reservations in one piece of a resync."""
MISSES_TO_DEGRADE = 3

log = logging.getLogger(__name__)


class _Resync(Exception):  # noqa: N818 - not an error: the protocol's answer to any doubt
    """The store's idea of us is not ours."""


class Ledger:
    """The live reservations of one gateway in one pool, mirrored in the store.

    `degraded` is set when the store cannot be asked: before the first contact, when a connection broke, or after three
    asks in a row went unanswered for `place_deadline_ms`; it ends with the first exchange answered within that time.
    `reaper` gets the gateways whose lease has ended.
    """

    def __init__(self, store: Store, keys: PoolKeys, *, gateway: str, settings: SchedulerSettings, rng: Random) -> None:
        self._store, self._keys, self._settings, self._rng = store, keys, settings, rng
        self.names = Names(gateway, settings.lease_ms)
        self.reaper = Reaper(store, keys, settings.lease_ms, rng)
        self.live: dict[int, Reservation] = {}
        self.counters: Counter[str] = Counter()
        self.degraded = True
        self._batch = Batch()
        self._known: set[int] = set()
        self._wake = asyncio.Event()
        self._misses = 0
        self._complaint = ""
        self._spoilt_epoch = ""

    @property
    def statements(self) -> int:
        """How often the live set was stated anew."""
        return self.names.statements

    async def place(self, ask: Ask) -> StoreAnswer | None:
        """The store's answer, or None if it gave none in time; then nothing stays reserved."""
        pending = Pending(self._fresh_id(), ask, asyncio.get_running_loop().create_future())
        self._batch.asks.append(pending)
        self._wake.set()
        try:
            async with asyncio.timeout(self._settings.place_deadline_ms / 1000):
                answer = await pending.answer
        except TimeoutError:
            self._take_back(pending)
            self._missed()
            return None
        except asyncio.CancelledError:
            self._take_back(pending)
            raise
        self._misses = 0
        return answer

    def adopt(self, reservation: Reservation) -> int:
        """Enters a reservation that was placed without asking the store; returns its id."""
        reservation_id = self._fresh_id()
        self.live[reservation_id] = reservation
        self._batch.state(reservation_id, reservation)
        self._wake_soon()
        return reservation_id

    def advance(self, reservation_id: int, phase: Phase) -> None:
        """Moves a reservation to a later phase; one that is not live is left alone."""
        former = self.live.get(reservation_id)
        if former is None or phase <= former.phase:
            return
        self.live[reservation_id] = former.at(phase)
        self._batch.state(reservation_id, self.live[reservation_id])
        self._wake_soon()

    def release(self, reservation_id: int) -> None:
        """Gives a reservation back; idempotent."""
        if self.live.pop(reservation_id, None) is not None:
            self._batch.release(reservation_id)
            self._wake_soon()

    async def run(self) -> None:
        """Keeps the store told until cancelled; then nobody waits for an answer any more. `leave` gives back."""
        try:
            while True:
                try:
                    await self._join()
                    await self._serve()
                except _Resync:
                    self.counters["resyncs"] += 1
                    await asyncio.sleep(GATHER_S)
                except (StoreUnavailableError, StoreRejectedError) as error:
                    self._lost(error)
                    await asyncio.sleep(self._settings.probe_ms / 1000)
        finally:
            self._batch.abandon()

    async def leave(self) -> None:
        """Gives everything back and ends the lease; call it after `run` has ended."""
        for reservation_id in list(self.live):
            self.release(reservation_id)
        if self.degraded or not self.names.all:
            return
        with suppress(_Resync, StoreUnavailableError, StoreRejectedError):  # else the lease ends by itself
            names = self.names.all
            try:
                await self._depart()
            except _Resync:  # `run` ended within an exchange: the store may hold anything
                await self._join()
                await self._depart()
            for name in {*names, *self.names.all}:
                await reap(self._store, self._keys, self.names.epoch, self._settings.lease_ms, name)

    async def _depart(self) -> None:
        await self._send(self._batch.take())
        await self._exchange([self._renewal("leave")])

    async def _join(self) -> None:
        """States the whole live set under a new name.

        The old names' leases have ended by it, so the next renewal names them to the reaper.
        """
        self.names.enter(await open_epoch(self._store, self._keys, self._rng, spoilt=self._spoilt_epoch))
        if len(self.names.all) > 1:
            self.names.keep(set(await self._store.command("HKEYS", self._keys.gate)))
        former = self.names.begin()
        stated = dict(self.live)
        self._batch.forget_states()
        records = [(reservation_id, held.record()) for reservation_id, held in stated.items()]
        for first in range(0, max(1, len(records)), PIECE):
            piece = dict(records[first : first + PIECE])
            await self._exchange([calls.resync(self._keys, self.names.next_head(), former, piece)])
        self._known = set(stated)
        self.names.settle()
        self._misses = 0

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        renew_at = loop.time()
        while True:
            timer = loop.call_at(renew_at, self._wake.set)
            await self._wake.wait()
            timer.cancel()
            self._wake.clear()
            if due := loop.time() >= renew_at:
                pause_ms = self._settings.probe_ms if self.degraded else self._settings.renew_ms
                renew_at = loop.time() + pause_ms / 1000
            await self._send(self._batch.take(), renew=due)

    async def _send(self, batch: Batch, *, renew: bool = False) -> None:
        """One exchange: the lease first, while what the store holds is exactly what we know it holds."""
        told = [self._renewal("stay")] if renew else []
        try:
            told += batch.calls(self._keys, self.names.next_head)
            if not told:
                return
            replies = await self._exchange(told)
        except BaseException:
            batch.abandon()
            raise
        self._known |= batch.stated.keys()
        self._known -= set(batch.released)
        for pending, reply in zip(batch.asks, replies[len(replies) - len(batch.asks) :], strict=True):
            self._answer(pending, StoreAnswer.read(pending, reply))
        if renew:
            self.reaper.take(self.names.epoch, replies[0][1])

    async def _exchange(self, told: list[Call]) -> list[Reply]:
        started = asyncio.get_running_loop().time()
        replies = await self._store.run(told)
        if any(reply[0] == b"resync" for reply in replies):
            raise _Resync
        if asyncio.get_running_loop().time() - started < self._settings.place_deadline_ms / 1000:
            self.degraded, self._complaint = False, ""
        return replies

    def _answer(self, pending: Pending, placed: StoreAnswer) -> None:
        if placed.reservation is not None:
            self._known.add(pending.reservation_id)
            self.live[pending.reservation_id] = placed.reservation
        if pending.answer.done():
            self.release(pending.reservation_id)
        else:
            pending.answer.set_result(placed)

    def _take_back(self, pending: Pending) -> None:
        """Nobody awaits this ask any more: what it reserved, or still will, is given back."""
        if not pending.answer.done():
            pending.answer.cancel()
        elif not pending.answer.cancelled() and pending.answer.result() is not None:
            self.release(pending.reservation_id)

    def _missed(self) -> None:
        self.counters["place_misses"] += 1
        self._misses += 1
        if self._misses >= MISSES_TO_DEGRADE:
            self.degraded = True

    def _lost(self, error: Exception) -> None:
        self._batch.abandon()
        if str(error) != self._complaint:
            self._complaint = str(error)
            self.counters["store_losses"] += 1
            log.warning("placing without the shared ledger: %s", error)
        self._spoilt_epoch = self.names.epoch if isinstance(error, StoreWrongTypeError) else ""
        self.degraded = True

    def _renewal(self, wish: Literal["stay", "leave"]) -> Call:
        id_sum = sum(self._known) % ID_MODULUS
        return calls.renew(self._keys, self.names.next_head(), len(self._known), id_sum, wish)

    def _fresh_id(self) -> int:
        return self._rng.randrange(1, ID_MODULUS)

    def _wake_soon(self) -> None:
        if not self._batch.timer_set and not self._wake.is_set():
            self._batch.timer_set = True
            asyncio.get_running_loop().call_later(GATHER_S, self._wake.set)
