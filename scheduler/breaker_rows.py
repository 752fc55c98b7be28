"""The rows of a pool's breakers in the store, as a gateway changes them: each is made of the one that is there.

Python thinks, Lua commits: what the gateway has to say of a rank makes the rank's next row of the one that it knows
(breaker.py), and the store takes it if nobody else was faster; else it is made anew of what is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

from scheduler import calls
from scheduler.breaker import NEVER, Breaker, Edit, edited, known_breaker
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.keys import PoolKeys
from scheduler.snapshots import Snapshots
from scheduler.store import Store

PIECE = 50
"""Rows in one exchange."""
ROUNDS = 8
"""How often a row is made anew that others have changed meanwhile."""

Settled = Callable[[Edit, str, str], None]
"""Called with an edit, its rank and the row that is in the store, when that has all that the edit has to say."""


class BreakerRows:
    """See the module. `counters`: breakers_opened, breakers_closed and ranks_back by this gateway's word."""

    def __init__(self, store: Store, keys: PoolKeys, lease_ms: int, snapshots: Snapshots, settled: Settled) -> None:
        self._store, self._keys, self._lease_ms = store, keys, lease_ms
        self._snapshots, self._settled = snapshots, settled
        self._newer: dict[str, str] = {}
        self.counters: Counter[str] = Counter()

    def has(self, rank: str) -> bool:
        """Whether a row of the rank is known that is newer than the snapshot's."""
        return rank in self._newer

    def forget(self) -> None:
        """A snapshot was read, and has newer ones."""
        self._newer = {}

    async def edit(self, edits: Mapping[str, Edit]) -> None:
        """Has the rows of these ranks changed. Raises StoreUnavailableError, StoreRejectedError."""
        names = list(edits)
        for first in range(0, len(names), PIECE):
            left = {name: edits[name] for name in names[first : first + PIECE]}
            for _ in range(ROUNDS):
                left = await self._exchange(left)
                if not left:
                    break

    async def begin_anew(self) -> None:
        """Somebody else wrote the key; what receipts do with such a one, too."""
        with suppress(StoreUnavailableError, StoreRejectedError):
            await self._store.command("DEL", self._keys.breaker)

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
        epoch = self._snapshots.view.epoch
        (reply,) = await self._store.run([calls.breaker(self._keys, epoch, self._lease_ms, told)])
        if reply[0] == b"resync":
            return {}  # the pool began anew, and so do its breakers
        for (name, incarnation, before, wanted), written, found in zip(told, reply[1::2], reply[2::2], strict=True):
            self._newer[name] = row = found.decode(errors=calls.AS_READ)
            if written:
                self._count(known_breaker(before, incarnation), known_breaker(row, incarnation))
            if row in {before, wanted}:  # as it was before and not written: the life is gone
                self._settled(edits[name], name, row)
        return {name: edits[name] for name, _, before, wanted in told if self._newer[name] not in {before, wanted}}

    def _change(self, name: str, edit: Edit, now_ms: int) -> tuple[str, str]:
        """The row as it was last read, and as it is to be."""
        rank = self._snapshots.view.ranks.get(name)
        row = self._newer.get(name, rank.breaker_row if rank else "")
        breaker = edited(known_breaker(row, edit.incarnation), edit, now_ms)
        return row, breaker.row() if breaker else ""

    def _count(self, before: Breaker | None, after: Breaker | None) -> None:
        """A change that is ours."""
        trips, trips_before = after.trips if after else 0, before.trips if before else 0
        back, back_before = after.back_ms if after else NEVER, before.back_ms if before else NEVER
        self.counters["breakers_opened"] += trips > trips_before
        self.counters["breakers_closed"] += trips < trips_before
        self.counters["ranks_back"] += trips == trips_before and back > back_before
        if trips != trips_before or back > back_before:
            self._snapshots.hurry()
