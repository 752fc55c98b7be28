"""A gateway's side of the ledger of one pool, as its requests use it.

Request tasks never await a Redis socket. They leave an ask and await a future, or leave an advance or a release and go
on; one writer owns the conversation with the store.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

from scheduler.contact import Contact
from scheduler.decision import Ask, Candidate
from scheduler.gateway_name import Names
from scheduler.holdings import Holdings
from scheduler.keys import PoolKeys
from scheduler.messages import Phase
from scheduler.pending import Pending, StoreAnswer
from scheduler.reaping import Reaper
from scheduler.reservation import Reservation
from scheduler.settings import SchedulerSettings
from scheduler.store import Store
from scheduler.writer import Writer


class Ledger:
    """The live reservations of one gateway in one pool, mirrored in the store."""

    def __init__(self, store: Store, keys: PoolKeys, *, gateway: str, settings: SchedulerSettings, rng: Random) -> None:
        self._holdings = Holdings(rng)
        self._contact = Contact(settings.place_deadline_ms / 1000)
        self._writer = Writer(store, keys, self._holdings, self._contact, gateway=gateway, settings=settings, rng=rng)

    @property
    def live(self) -> dict[int, Reservation]:
        """What the gateway holds, by id."""
        return self._holdings.live

    @property
    def degraded(self) -> bool:
        """Whether the store cannot be asked (contact.py)."""
        return self._contact.degraded

    @property
    def counters(self) -> Counter[str]:
        """Events since the start: resyncs, place_misses, store_losses."""
        return self._contact.counters

    @property
    def names(self) -> Names:
        """What the gateway is called in the ledger."""
        return self._writer.names

    @property
    def statements(self) -> int:
        """How often the live set was stated anew."""
        return self._writer.names.statements

    @property
    def reaper(self) -> Reaper:
        """Gets the gateways whose lease has ended."""
        return self._writer.reaper

    async def place(self, ask: Ask, instead_of: int | None = None) -> StoreAnswer | None:
        """The store's answer, or None if it gave none in time; then nothing stays reserved.

        The reservation `instead_of` is given back in any case, as by `release`: by the same call where it is made.
        """
        return await self._answer(self._holdings.ask_to_place(ask, instead_of))

    async def rebind(self, reservation_id: int, ask: Ask) -> StoreAnswer | None:
        """A pair's prefill is done: moves it to that phase and, if the store knows a better one, to another decode leg.

        `ask` has decode candidates alone. Its answer has the reservation as it is from now on; no reservation: none of
        the candidates can be placed on. None: the store gave no answer in time, or the reservation is given back. In
        both cases one that is live keeps the legs it has.
        """
        if reservation_id not in self.live:
            return None
        return await self._answer(self._holdings.ask_to_rebind(reservation_id, ask))

    def adopt(self, reservation: Reservation) -> int:
        """Enters a reservation that was placed without asking the store; returns its id."""
        return self._holdings.adopt(reservation)

    def bind(self, reservation_id: int, decode: Candidate) -> None:
        """Gives a pair whose prefill is done another decode leg without asking the store."""
        self._holdings.bind(reservation_id, decode)

    def advance(self, reservation_id: int, phase: Phase) -> None:
        """Moves a reservation to a later phase; one that is not live is left alone."""
        self._holdings.advance(reservation_id, phase)

    def decode_waits(self, reservation_id: int) -> None:
        """The decode rank of a pair has the request already, and waits for the prefill's KV."""
        self._holdings.decode_waits(reservation_id)

    def release(self, reservation_id: int) -> None:
        """Gives a reservation back; idempotent."""
        self._holdings.release(reservation_id)

    async def run(self) -> None:
        """Keeps the store told until cancelled; then nobody waits for an answer any more. `leave` gives back."""
        await self._writer.run()

    async def leave(self) -> None:
        """Gives everything back and ends the lease; call it after `run` has ended."""
        await self._writer.leave()

    async def _answer(self, pending: Pending) -> StoreAnswer | None:
        answer = None
        try:
            async with asyncio.timeout(self._contact.deadline_s):
                answer = await pending.answer
        except TimeoutError:
            self._contact.missed()
        else:
            self._contact.answered()
        finally:
            if answer is None:
                self._holdings.take_back(pending)
        return answer
