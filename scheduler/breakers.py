"""A gateway's side of a pool's breakers: what it hears of ranks goes to all, what all heard comes with snapshots.

Python thinks, Lua commits: what a gateway has to say of a rank makes the rank's next row of the one that it knows
(breaker.py), and the store takes it if nobody else was faster; else it is made anew of what is there. Requests leave a
word and go on. One task tells the store, of ranks that failed, came back, or wait for a probe; of others nothing is
told. What the store does not take is lost, and harms nobody; how a probe went is told again while its ticket lasts.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress

from scheduler import calls
from scheduler.breaker import TICKET_MS, Breaker, Edit, edited, known_breaker
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
PIECE = 50
"""Rows in one exchange."""
ROUNDS = 8
"""How often a row is made anew that others have changed meanwhile."""

log = logging.getLogger(__name__)


class Breakers:
    """See the module. `gateway` is its name, `held` are the reservations that are live.

    `counters`: breakers_opened, breakers_closed and ranks_back by this gateway's word; breaker_losses of what could not
    be told.
    """

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
        self._store, self._keys, self._settings = store, keys, settings
        self._snapshots, self._reach = snapshots, reach
        self._me = hashlib.blake2b(gateway.encode(), digest_size=6).hexdigest()
        self.counters: Counter[str] = Counter()
        self._own = OwnWords()
        self._tickets = Tickets(held)
        self._claims: set[str] = set()
        self._back: dict[str, str] = {}
        self._to_look_at: dict[str, str] = {}
        self._rows: dict[str, str] = {}
        self._before = PoolView()
        self._since_ms: Mapping[Role, int] = {}
        self._wake = asyncio.Event()

    def heard(self, card: RankCard, *, well: bool) -> None:
        """An attempt at a rank ended so; returns at once. Of a life that is over nothing counts."""
        rank = self._snapshots.view.ranks.get(card.rank)
        if rank is None or rank.card.incarnation != card.incarnation:
            return
        self._own.add((card.rank, card.incarnation), self._snapshots.pool_ms, well=well)
        if self._tickets.answered(card.rank, card.incarnation, well=well) or not well:
            self._wake.set()

    def shun(self, rank: str) -> None:
        """The rank took no connection: whatever its breaker says, it is left out for a while if there is another."""
        self._own.shun(rank, self._snapshots.pool_ms)

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
        return self._tickets.trial(out, pool_ms)

    def look(self) -> None:
        """A snapshot was read: what it shows to be done is done."""
        view, before, self._before = self._snapshots.view, self._before, self._snapshots.view
        self._rows = {}
        if view.epoch != before.epoch:
            self._own.forget()
            self._tickets.forget()
            self._since_ms = established({}, view)
            return
        self._since_ms = established(self._since_ms, view)
        self._own.keep(view.ranks)
        now_ms = int(self._snapshots.pool_ms)
        for rank in came_back(before, view, self._since_ms):
            if rank.breaker is None:
                self._back[rank.card.rank] = rank.card.incarnation
        for rank in view.with_breakers:
            name, incarnation, breaker = rank.card.rank, rank.card.incarnation, rank.breaker
            has_news = breaker and breaker.is_suspect and self._own.has_untold((name, incarnation), now_ms)
            if has_news or edited(breaker, Edit(by=self._me, incarnation=incarnation), now_ms) != breaker:
                self._to_look_at[name] = incarnation
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
                await self._tell(self._edits(int(self._snapshots.pool_ms)))
            except (StoreUnavailableError, StoreRejectedError) as error:
                self.counters["breaker_losses"] += 1
                log.debug("breakers are not told: %s", error)
                if isinstance(error, StoreWrongTypeError):
                    await self._begin_anew()
                await asyncio.sleep(self._settings.probe_ms / 1000)
                await self._snapshots.newer()  # pool time stood still while the store was away
            if self._tickets.answers(self._snapshots.pool_ms):
                self._wake.set()
            await asyncio.sleep(REST_S)

    def _left_out(self, pool_ms: float) -> LeftOut:
        """With those that took no connection, and, where tickets can be asked for, which ranks are half-open."""
        alone, doubts = self._reach.is_cut_off, self._own.doubts(pool_ms)
        out, half_open = left_out(self._snapshots.view, doubts, pool_ms, alone=alone)
        return LeftOut(out | self._own.shunned(pool_ms), half_open)

    def _ask_for(self, half_open: Iterable[str], pool_ms: float) -> None:
        for name in half_open:
            rank = self._snapshots.view.ranks[name]
            if rank.breaker and rank.breaker.can_be_claimed(pool_ms) and name not in self._rows:
                self._claims.add(name)
                self._wake.set()

    def _edits(self, now_ms: int) -> dict[str, Edit]:
        """What there is to say of each rank."""
        self._tickets.drop_old(now_ms)
        view, given_back, answers = self._snapshots.view, self._tickets.unanswered(), self._tickets.answers(now_ms)
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
                heard=self._own.take((name, incarnation), now_ms) if name in failing.keys() | suspects else (),
                probe_went_well=answers[name].well if name in answers else None,
                claims=name in claims or name in probing,
                gives_back=name in given_back,
                came_back=name in back,
            )
            for name, incarnation in lives.items()
        }

    async def _tell(self, edits: Mapping[str, Edit]) -> None:
        names = list(edits)
        for first in range(0, len(names), PIECE):
            left = {name: edits[name] for name in names[first : first + PIECE]}
            for _ in range(ROUNDS):
                left = await self._exchange(left)
                if not left:
                    break

    async def _exchange(self, edits: Mapping[str, Edit]) -> dict[str, Edit]:
        """Those for which others were faster."""
        now_ms = int(self._snapshots.pool_ms)
        changes = [(name, edit.incarnation, *self._change(name, edit, now_ms)) for name, edit in edits.items()]
        told = [change for change in changes if change[2] != change[3] or edits[change[0]].is_by_ticket]
        for name, _, row, same in changes:
            if row == same and not edits[name].is_by_ticket:
                self._settled(edits[name], name, row)
        if not told:
            return {}
        epoch, lease_ms = self._snapshots.view.epoch, self._settings.lease_ms
        (reply,) = await self._store.run([calls.breaker(self._keys, epoch, lease_ms, told)])
        if reply[0] == b"resync":
            return {}  # the pool began anew, and so do its breakers
        for (name, incarnation, before, wanted), written, found in zip(told, reply[1::2], reply[2::2], strict=True):
            self._rows[name] = row = found.decode(errors=calls.AS_READ)
            if written:
                self._count(known_breaker(before, incarnation), known_breaker(row, incarnation))
            if row in {before, wanted}:  # as it was before and not written: the life is gone
                self._settled(edits[name], name, row)
        return {name: edits[name] for name, _, before, wanted in told if self._rows[name] not in {before, wanted}}

    def _change(self, name: str, edit: Edit, now_ms: int) -> tuple[str, str]:
        """The row as it was last read, and as it is to be."""
        rank = self._snapshots.view.ranks.get(name)
        row = self._rows.get(name, rank.breaker.row() if rank and rank.breaker else "")
        breaker = edited(known_breaker(row, edit.incarnation), edit, now_ms)
        return row, breaker.row() if breaker else ""

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

    def _count(self, before: Breaker | None, after: Breaker | None) -> None:
        """A change that is ours."""
        trips, trips_before = after.trips if after else 0, before.trips if before else 0
        back, back_before = after.back_ms if after else -1, before.back_ms if before else -1
        self.counters["breakers_opened"] += trips > trips_before
        self.counters["breakers_closed"] += trips < trips_before
        self.counters["ranks_back"] += trips == trips_before and back > back_before
        if trips != trips_before or back > back_before:
            self._snapshots.hurry()

    async def _begin_anew(self) -> None:
        """Somebody else wrote the key; what receipts do with such a one, too."""
        with suppress(StoreUnavailableError, StoreRejectedError):
            await self._store.command("DEL", self._keys.breaker)
