"""Keeps a gateway's last snapshot of one pool.

One task reads, whoever wants to know: a request that needs a newer snapshot waits for the next one with all others that
do, so that however many are rejected, Redis is asked once. Only what changed is read, but everything after any doubt:
after a resync the store may have lost what it had told us, and a row that could not be read has lost us its rank.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from scheduler import calls
from scheduler.awaited_ranks import AwaitedRanks
from scheduler.endpoints import AllowedHosts
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.keys import PoolKeys
from scheduler.pace import snapshot_interval_ms
from scheduler.settings import SchedulerSettings
from scheduler.store import Store
from scheduler.view import Delta, Folding, PoolView

FIRST_BACK_WITHIN_S = 10.0
"""How long the first agent of a store that began anew may take."""
ALL_BACK_WITHIN_S = 2.0
"""How long the others may take then: each reports at least every second."""
SOONEST_S = 0.02
"""Between two snapshots, however many ask for one."""
SLICE_ROWS = 64
"""Folded at a time, in less than 1 ms."""
STALE_S = 10.0
"""From this age on a snapshot says too little of a pool to share it: what was heard of its ranks has faded."""
RELEARN_S = 60.0
"""After a store began anew: so long its prefix index is taken to know less than a gateway remembers."""
REREAD_S = 1.0
"""Between two whole snapshots while a row cannot be read."""

log = logging.getLogger(__name__)


class _Rebuild(NamedTuple):
    """A wait for ranks to be back: in which epoch, whether one is back already, and until when."""

    stage: tuple[str, bool]
    until_s: float


class Snapshots:
    """The pool's last snapshot, read at monotonic time `read_at`.

    `statements` answers how often the gateway stated its reservations; what is in `on_read` is called after each
    snapshot. `clock` answers monotonic seconds. `rebuilding`: the store began anew, not all ranks are back, and the
    last snapshot holds.
    `complaint` is what the store answered last instead of a snapshot; `losses` counts those, one that is repeated once,
    and `unreadable` counts rows.
    """

    def __init__(
        self,
        store: Store,
        keys: PoolKeys,
        settings: SchedulerSettings,
        *,
        statements: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._store, self._keys, self._settings = store, keys, settings
        self._statements, self._clock = statements, clock
        self.on_read: list[Callable[[], None]] = []
        self.view = PoolView()
        self.read_at = clock()
        self.was_read = False
        self.rebuilding = False
        self.unreadable = 0
        self.losses = 0
        self.complaint = ""
        self.awaited = AwaitedRanks()
        self._allowed = AllowedHosts(settings.allowed_hosts)
        self._refused: dict[str, str] = {}
        self._rebuild: _Rebuild | None = None
        self._anew_until_s = self.read_at
        self._statements_then = -1
        self._reread_at: float | None = None
        self._wanted = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def age_s(self) -> float:
        """How long ago the last snapshot was read."""
        return self._clock() - self.read_at

    @property
    def now_ms(self) -> float:
        """Now by the clock, which unlike pool time stands still for no store."""
        return self._clock() * 1000

    @property
    def pool_ms(self) -> float:
        """Pool time now, by the last snapshot; while the store is away it goes on, and back with the next one."""
        return self.view.pool_ms + self.age_s * 1000

    @property
    def is_stale(self) -> bool:
        """Whether the last snapshot is too old to share the pool by."""
        return self.age_s > STALE_S

    @property
    def is_anew(self) -> bool:
        """Whether the store began anew a moment ago: what is no part of the ledger nobody has said again."""
        return self._clock() < self._anew_until_s

    async def run(self) -> None:
        """Reads every `snapshot_ms`, a large pool less often, and sooner when asked; until cancelled."""
        while True:
            self._wanted.clear()
            waiting, self._waiting = self._waiting, []
            await self.read()
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)
            await asyncio.sleep(SOONEST_S)
            try:
                pause_ms = snapshot_interval_ms(len(self.view.ranks), self._settings.snapshot_ms)
                async with asyncio.timeout(pause_ms / 1000 - SOONEST_S):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    def hurry(self) -> None:
        """Have the next snapshot read at once."""
        self._wanted.set()

    async def newer(self) -> None:
        """Returns after a snapshot begun from now on, or after `place_deadline_ms`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._wanted.set()
        try:
            async with asyncio.timeout(self._settings.place_deadline_ms / 1000):
                await waiter
        except TimeoutError:
            return

    async def read(self) -> None:
        """One snapshot; the old one stays if the store does not answer. Not to be called while `run` runs."""
        statements, known = self._statements(), self._known()
        call = calls.snapshot(self._keys, self._settings.lease_ms, known.epoch, known.version)
        try:
            (reply,) = await self._store.run([call])
        except (StoreUnavailableError, StoreRejectedError) as error:
            self._lost(error)
            return
        self.was_read, self.complaint = True, ""
        if reply[0] == b"closed":
            return  # a pool that is being rebuilt keeps its last snapshot
        self._statements_then = statements
        read_at = self._clock()
        folding = Folding(known, Delta.read(reply), self._allowed, self._refused)
        for _ in folding.slices(SLICE_ROWS):
            await asyncio.sleep(0)
        view = folding.view()
        if known.version < 0:
            self._reread_at = None
        if folding.skipped and self._reread_at is None:
            self._reread_at = read_at + REREAD_S
        self.unreadable += folding.skipped + folding.refusals
        self._note_refused(folding.refused)
        self.rebuilding = self._is_being_rebuilt(view)
        if self.rebuilding:
            return
        if self.view.epoch not in {"", view.epoch}:
            self._anew_until_s = read_at + RELEARN_S
        self.view = view
        self.read_at = read_at
        for reader in self.on_read:
            reader()
        self.awaited.read(view)

    def _lost(self, error: Exception) -> None:
        if str(error) != self.complaint:
            self.complaint = str(error)
            self.losses += 1

    def _note_refused(self, refused: dict[str, str]) -> None:
        for rank, why in refused.items():
            if self._refused.get(rank) != why:
                log.warning("rank %r is not placed on: %s", rank, why)
        self._refused = refused

    def _known(self) -> PoolView:
        """What the next delta is laid over: nothing after a doubt."""
        doubted = self._statements() != self._statements_then
        unread = self._reread_at is not None and self._clock() >= self._reread_at
        return PoolView() if doubted or unread else self.view

    def _is_being_rebuilt(self, view: PoolView) -> bool:
        """Whether a store that began anew, or lost what it had last heard, still waits for agents to tell it of ranks.

        It is given one time until the first is back and another for the rest, in each epoch.
        """
        lost_some = view.epoch != self.view.epoch or view.version < self.view.version
        if not lost_some or not self.view.ranks.keys() - view.ranks.keys():
            self._rebuild = None
            return False
        stage = (view.epoch, bool(view.ranks))
        if self._rebuild is None or self._rebuild.stage != stage:
            within_s = ALL_BACK_WITHIN_S if view.ranks else FIRST_BACK_WITHIN_S
            self._rebuild = _Rebuild(stage, self._clock() + within_s)
        return self._clock() < self._rebuild.until_s
