"""The one task of a gateway that converses with the store about one pool's ledger.

It sends what has gathered as one batch, one batch at a time, each call with the next number. Whenever the store's idea
and ours may differ (a lost reply, a restart, a promotion), the whole live set is stated anew under a new name
(scripts/resync.lua), so no difference outlives the next exchange.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Literal

from scheduler import calls
from scheduler.batch import Batch
from scheduler.calls import Call, Reply
from scheduler.contact import Contact
from scheduler.errors import StoreRejectedError, StoreUnavailableError, StoreWrongTypeError
from scheduler.gateway_name import Names
from scheduler.holdings import GATHER_S, Holdings
from scheduler.keys import PoolKeys
from scheduler.opening import open_epoch
from scheduler.pending import StoreAnswer
from scheduler.reaping import Reaper, reap
from scheduler.reservation import ID_MODULUS
from scheduler.settings import SchedulerSettings
from scheduler.store import Store

PIECE = 500
"""Reservations in one piece of a resync."""


class _Resync(Exception):  # noqa: N818 - not an error: the protocol's answer to any doubt
    """The store's idea of us is not ours."""


class Writer:
    """Tells the store what `holdings` gathers, and `contact` how that went.

    `reaper` gets the gateways whose lease has ended.
    """

    def __init__(
        self,
        store: Store,
        keys: PoolKeys,
        holdings: Holdings,
        contact: Contact,
        *,
        gateway: str,
        settings: SchedulerSettings,
        rng: Random,
    ) -> None:
        self._store, self._keys, self._settings, self._rng = store, keys, settings, rng
        self._holdings, self._contact = holdings, contact
        self.names = Names(gateway, settings.lease_ms)
        self.reaper = Reaper(store, keys, settings.lease_ms, rng)
        self._known: set[int] = set()
        self._spoilt_epoch = ""

    async def run(self) -> None:
        """Keeps the store told until cancelled; then nobody waits for an answer any more. `leave` gives back."""
        try:
            while True:
                try:
                    await self._join()
                    await self._serve()
                except _Resync:
                    self._contact.counters["resyncs"] += 1
                    await asyncio.sleep(GATHER_S)
                except (StoreUnavailableError, StoreRejectedError) as error:
                    self._holdings.batch.abandon()
                    self._spoilt_epoch = self.names.epoch if isinstance(error, StoreWrongTypeError) else ""
                    self._contact.lost(error)
                    await asyncio.sleep(self._settings.probe_ms / 1000)
        finally:
            self._holdings.batch.abandon()

    async def leave(self) -> None:
        """Gives everything back and ends the lease; call it after `run` has ended."""
        for reservation_id in list(self._holdings.live):
            self._holdings.release(reservation_id)
        if self._contact.degraded or not self.names.all:
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
        await self._send(self._holdings.batch.take())
        await self._exchange([self._renewal("leave")])

    async def _join(self) -> None:
        """States the whole live set under a new name.

        The old names' leases have ended by it, so the next renewal names them to the reaper.
        """
        self.names.enter(await open_epoch(self._store, self._keys, self._rng, spoilt=self._spoilt_epoch))
        if len(self.names.all) > 1:
            self.names.keep(set(await self._store.command("HKEYS", self._keys.gate)))
        former = self.names.begin()
        stated = dict(self._holdings.live)
        self._holdings.batch.forget_states()
        records = [(reservation_id, held.record()) for reservation_id, held in stated.items()]
        for first in range(0, max(1, len(records)), PIECE):
            piece = dict(records[first : first + PIECE])
            await self._exchange([calls.resync(self._keys, self.names.next_head(), former, piece)])
        self._known = set(stated)
        self.names.settle()
        self._contact.answered()

    async def _serve(self) -> None:
        loop, wake = asyncio.get_running_loop(), self._holdings.wake
        renew_at = loop.time()
        while True:
            timer = loop.call_at(renew_at, wake.set)
            await wake.wait()
            timer.cancel()
            wake.clear()
            if due := loop.time() >= renew_at:
                pause_ms = self._settings.probe_ms if self._contact.degraded else self._settings.renew_ms
                renew_at = loop.time() + pause_ms / 1000
            await self._send(self._holdings.batch.take(), renew=due)

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
        self._known -= {*batch.released, *(each.instead_of for each in batch.awaited if each.instead_of is not None)}
        for pending, reply in zip(batch.awaited, replies[len(replies) - len(batch.awaited) :], strict=True):
            answer = StoreAnswer.read(pending, reply)
            if answer.reservation is not None:
                self._known.add(answer.reservation_id)
            self._holdings.answer(pending, answer)
        if renew:
            self.reaper.take(self.names.epoch, replies[0][1])

    async def _exchange(self, told: list[Call]) -> list[Reply]:
        started = asyncio.get_running_loop().time()
        replies = await self._store.run(told)
        if any(reply[0] == b"resync" for reply in replies):
            raise _Resync
        self._contact.exchanged(asyncio.get_running_loop().time() - started)
        return replies

    def _renewal(self, wish: Literal["stay", "leave"]) -> Call:
        id_sum = sum(self._known) % ID_MODULUS
        return calls.renew(self._keys, self.names.next_head(), len(self._known), id_sum, wish)
