"""A gateway's side of a pool's breakers: what it hears of ranks goes to all, what all heard comes with snapshots.

Requests leave a word and go on. One task tells the store (breaker_rows.py), of ranks that failed, came back, or wait
for a probe; of others nothing is told. What the store does not take is lost, and harms nobody; how a probe went is told
again while its ticket lasts.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress

from scheduler.breaker import TICKET_MS, Edit, edited, known_breaker
from scheduler.breaker_rows import BreakerRows
from scheduler.errors import StoreRejectedError, StoreUnavailableError, StoreWrongTypeError
from scheduler.keys import PoolKeys
from scheduler.left_out import LeftOut, left_out
from scheduler.messages import RankCard, Role
from scheduler.own_words import OwnWords
from scheduler.reach import Reach
from scheduler.reservation import Reservation
from scheduler.settings import SchedulerSettings
from scheduler.slow_start import came_back, established
from scheduler.snapshots import Snapshots
from scheduler.store import Store
from scheduler.tickets import Tickets, Trial
from scheduler.view import PoolView

GATHER_S = 0.010
"""How long a word may wait for company."""
REST_S = 0.040
"""Between two exchanges: a rank that fails often must not keep the store busy."""

log = logging.getLogger(__name__)


class Breakers:
    """See the module. `gateway` is its name, `held` are the reservations that are live."""

    def __init__(
        self,
        store: Store,
        keys: PoolKeys,
        settings: SchedulerSettings,
        snapshots: Snapshots,
        reach: Reach,
        gateway: str,
        held: Mapping[int, Reservation],
    ) -> None:
        self._settings, self._snapshots, self._reach = settings, snapshots, reach
        self._me = hashlib.blake2b(gateway.encode(), digest_size=6).hexdigest()
        self._rows = BreakerRows(store, keys, settings.lease_ms, snapshots, self._settled)
        self._own = OwnWords()
        self._tickets = Tickets(held)
        self._claims: set[str] = set()
        self._back: dict[str, str] = {}
        self._to_look_at: dict[str, str] = {}
        self._before = PoolView()
        self._since_ms: Mapping[Role, int] = {}
        self._wake = asyncio.Event()

    @property
    def counters(self) -> Counter[str]:
        """Those of BreakerRows, and breaker_losses: how often nothing could be told."""
        return self._rows.counters

    def heard(self, card: RankCard, reservation: int | None, *, well: bool) -> None:
        """An attempt at a rank ended so, of the request with this `reservation` if it was placed; returns at once.

        Of a life that is over nothing counts.
        """
        rank = self._snapshots.view.ranks.get(card.rank)
        if rank is None or rank.card.incarnation != card.incarnation:
            return
        self._own.add((card.rank, card.incarnation), self._snapshots.now_ms, well=well)
        is_probe = self._tickets.answered(card.rank, card.incarnation, reservation, well=well)
        if is_probe or not well:
            self._wake.set()

    def shun(self, rank: str) -> None:
        """The rank took no connection: whatever its breaker says, it is left out for a while if there is another."""
        self._own.shun(rank, self._snapshots.now_ms)

    def out(self, reservation: int | None = None) -> frozenset[str]:
        """The ranks that are left out now; not those that the request with this `reservation` probes."""
        out, _ = self._left_out(self._snapshots.pool_ms)
        return out - self._tickets.probed_by(reservation) if out and reservation is not None else out

    def trial(self) -> Trial:
        """A placement, to be begun at once; of ranks that wait for a probe it may be the one."""
        pool_ms = self._snapshots.pool_ms
        out, half_open = self._left_out(pool_ms)
        if half_open:
            self._ask_for(half_open, pool_ms)
        # From its use on a ticket is renewed.
        return self._tickets.trial(out, pool_ms, on_use=self._wake.set)

    def look(self) -> None:
        """A snapshot was read: what it shows to be done is done."""
        view, before, self._before = self._snapshots.view, self._before, self._snapshots.view
        self._rows.forget()
        if view.epoch != before.epoch:
            self._own.tell_anew()
            self._tickets.forget()
            self._wake.set()
            self._since_ms = established({}, view)
            return
        self._since_ms = established(self._since_ms, view)
        self._own.keep(view.ranks)
        now_ms, pool_ms = self._snapshots.now_ms, int(self._snapshots.pool_ms)
        for rank in came_back(before, view, self._since_ms):
            if rank.breaker is None:
                self._back[rank.card.rank] = rank.card.incarnation
        for rank in view.with_breakers:
            life, breaker = (rank.card.rank, rank.card.incarnation), rank.breaker
            has_news = rank.former_breaker or (breaker and breaker.is_suspect and self._own.has_untold(life, now_ms))
            if has_news or edited(breaker, Edit(by=self._me, incarnation=life[1]), pool_ms) != breaker:
                self._to_look_at.update([life])
        if self._back or self._to_look_at:
            self._wake.set()

    async def run(self) -> None:
        """Tells the store until cancelled."""
        while True:
            # Whoever probes says so now and then, so that the ticket stays.
            with suppress(TimeoutError):
                async with asyncio.timeout(TICKET_MS / 3000 if self._tickets.in_use() else None):
                    await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            try:
                await self._rows.edit(self._edits())
            except (StoreUnavailableError, StoreRejectedError) as error:
                self.counters["breaker_losses"] += 1
                log.debug("breakers are not told: %s", error)
                if isinstance(error, StoreWrongTypeError):
                    await self._rows.begin_anew()
                await asyncio.sleep(self._settings.probe_ms / 1000)
                await self._snapshots.newer()  # pool time stood still while the store was away
            if self._tickets.answers(self._snapshots.pool_ms):
                self._wake.set()
            await asyncio.sleep(REST_S)

    def _left_out(self, pool_ms: float) -> LeftOut:
        """With those that took no connection, and, where tickets can be asked for, which ranks are half-open."""
        now_ms = self._snapshots.now_ms
        alone, doubts = self._reach.is_cut_off, self._own.doubts(now_ms)
        out, half_open = left_out(self._snapshots.view, doubts, pool_ms, alone=alone)
        return LeftOut(out | self._own.shunned(now_ms), half_open)

    def _ask_for(self, half_open: Iterable[str], pool_ms: float) -> None:
        for name in half_open:
            rank = self._snapshots.view.ranks[name]
            if rank.breaker and rank.breaker.can_be_claimed(pool_ms) and not self._rows.has(name):
                self._claims.add(name)
                self._wake.set()

    def _edits(self) -> dict[str, Edit]:
        """What there is to say of each rank."""
        now_ms, pool_ms = self._snapshots.now_ms, self._snapshots.pool_ms
        self._tickets.drop_old(pool_ms)
        view, given_back, answers = self._snapshots.view, self._tickets.unanswered(), self._tickets.answers(pool_ms)
        probing, back, claims = self._tickets.in_use(), self._back, self._claims
        failing = dict(self._own.failing(now_ms))
        suspects = {each.card.rank for each in view.with_breakers if each.breaker and each.breaker.is_suspect}
        lives = failing | back | self._to_look_at
        lives |= {name: view.ranks[name].card.incarnation for name in claims if name in view.ranks}
        lives |= probing | given_back | {name: answer.incarnation for name, answer in answers.items()}
        self._back, self._claims, self._to_look_at = {}, set(), {}
        return {
            name: Edit(
                by=self._me,
                incarnation=incarnation,
                heard=self._own.take((name, incarnation), now_ms, pool_ms) if name in failing.keys() | suspects else (),
                probe_went_well=answers[name].well if name in answers else None,
                claims=name in claims or name in probing,
                gives_back=name in given_back,
                came_back=name in back,
            )
            for name, incarnation in lives.items()
        }

    def _settled(self, edit: Edit, name: str, row: str) -> None:
        """What is in the store has what was to be said in it."""
        if edit.probe_went_well is not None:
            self._tickets.told(name)
        if not edit.claims or self._tickets.has_answer(name):
            return
        breaker = known_breaker(row, edit.incarnation)
        if breaker and breaker.trips and breaker.holder == self._me:
            self._tickets.won(name, edit.incarnation, breaker.ticket_until_ms)
        else:
            self._tickets.lost(name)
