"""One pool as a gateway uses it: a request's shape in, a decision out."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from random import Random

import anyio

from scheduler.alone import choose_alone
from scheduler.decision import Decision, Leg, Place, Reject, RequestShape, Wait
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.keys import PoolKeys
from scheduler.ledger import Ledger
from scheduler.loads import Loads
from scheduler.lua import Script
from scheduler.messages import Phase
from scheduler.planning import Plan, plan
from scheduler.policies import Policy
from scheduler.reservation import Reservation, reserve
from scheduler.settings import SchedulerSettings
from scheduler.store import Call, Store
from scheduler.tally import believed, tally_of
from scheduler.view import Delta, PoolView, fold

RETRY_AFTER_MS = 1_000
LEAVE_WITHIN_S = 1.0
REBUILD_WITHIN_S = 10.0
"""How long the agents of a store that began anew may take."""


class Pool:
    """One pool: its last snapshot, this gateway's reservations in it, and the policy that places.

    `clock` answers monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        policy: Policy,
        *,
        gateway: str,
        settings: SchedulerSettings,
        rng: Random,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.view = PoolView()
        self._keys = PoolKeys(name)
        self._ledger = Ledger(store, self._keys, gateway=gateway, settings=settings, rng=rng)
        self._store, self._policy, self._settings, self._rng, self._clock = store, policy, settings, rng, clock
        self._turns = itertools.count()
        self._read_at = clock()
        self._own_then: dict[str, Loads] = {}
        self._rebuilding = False
        self._rebuilt_by: float | None = None

    @property
    def degraded(self) -> bool:
        """Whether requests are placed without the shared ledger."""
        return self._ledger.degraded or self._rebuilding

    @property
    def counters(self) -> Counter[str]:
        """Events since the start: resyncs, place_misses, store_losses, placed_alone, unreadable_rows."""
        return self._ledger.counters

    @property
    def reservations(self) -> int:
        """How many reservations this gateway holds."""
        return len(self._ledger.live)

    async def place(self, shape: RequestShape, *, explain: bool = False) -> Decision:
        """Decides where a request goes and reserves it there.

        Never fails for Redis: without it the decision is made alone and says so. Safe to cancel: an answer that nobody
        awaits is given back. A rank that restarted since the snapshot is looked up once more before a Reject.
        """
        decision = await self._place_once(shape, explain=explain)
        if isinstance(decision, Reject) and not self.degraded:
            await self.refresh()
            decision = await self._place_once(shape, explain=explain)
        return decision

    def advance(self, reservation: int, phase: Phase) -> None:
        """The request has come to a later phase; returns at once."""
        self._ledger.advance(reservation, phase)

    def release(self, reservation: int) -> None:
        """The request holds nothing any more; returns at once, idempotent."""
        self._ledger.release(reservation)

    async def refresh(self) -> None:
        """Reads what changed since the last snapshot; keeps the old one if the store does not answer."""
        keys = (self._keys.head, self._keys.change, self._keys.card, self._keys.seen, self._keys.load)
        call = Call(Script.SNAPSHOT, keys, (self._settings.lease_ms, self.view.epoch, self.view.version))
        try:
            (reply,) = await self._store.run([call])
        except (StoreUnavailableError, StoreRejectedError):
            return
        if reply[0] == b"closed":
            return  # a pool that is being rebuilt keeps its last snapshot
        view, skipped = fold(self.view, Delta.read(reply))
        self._rebuilding = self._has_lost_all(view)
        if self._rebuilding:
            return
        self.view = view
        self.counters["unreadable_rows"] += skipped
        self._read_at = self._clock()
        self._own_then = tally_of(self._ledger.live.values())

    def _has_lost_all(self, view: PoolView) -> bool:
        """Whether the store began anew and no agent has told it of a rank yet: for a while the last snapshot holds."""
        if view.ranks or not self.view.ranks or view.epoch == self.view.epoch:
            self._rebuilt_by = None
            return False
        self._rebuilt_by = self._rebuilt_by or self._clock() + REBUILD_WITHIN_S
        return self._clock() < self._rebuilt_by

    async def run(self) -> None:
        """Keeps the snapshot and the ledger until cancelled; then gives everything back."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ledger.run(), name=f"ledger of {self.name}")
                tasks.create_task(self._keep_reading(), name=f"snapshots of {self.name}")
        finally:
            with anyio.move_on_after(LEAVE_WITHIN_S, shield=True):
                await self._ledger.leave()

    async def _keep_reading(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(self._settings.snapshot_ms / 1000)

    async def _place_once(self, shape: RequestShape, *, explain: bool) -> Decision:
        pool_ms = self.view.pool_ms + (self._clock() - self._read_at) * 1000
        planned = plan(
            shape,
            self.view,
            self._policy,
            pool_ms=pool_ms,
            turn=next(self._turns),
            chance=self._rng,
            explain=explain,
        )
        if planned is None:
            return Reject(reason=f"no rank of {self.name} can take a request now")
        placed = None if self.degraded else await self._ledger.place(planned.ask)
        if placed is None:
            return self._place_alone(planned, shape.prompt_key)
        if placed.reservation is None:
            if placed.wait:
                return Wait(retry_after_ms=RETRY_AFTER_MS)
            return Reject(reason=f"no rank of {self.name} is up")
        return Place(
            reservation=placed.reservation_id,
            legs=_legs(planned, placed.reservation),
            cost_s=placed.cost_s,
            first_token_s=planned.first_token_s[placed.reservation.legs[0].rank],
            seen=placed.seen,
        )

    def _place_alone(self, planned: Plan, prompt_key: str) -> Place:
        self.counters["placed_alone"] += 1
        loads = believed(planned.loads, self._own_then, tally_of(self._ledger.live.values()))
        reservation = reserve(planned.ask, (choose_alone(planned.ask.singles, loads, prompt_key),))
        legs = _legs(planned, reservation)
        return Place(
            reservation=self._ledger.adopt(reservation),
            legs=legs,
            cost_s=0.0,
            first_token_s=planned.first_token_s[reservation.legs[0].rank],
            degraded=True,
        )


def _legs(planned: Plan, reservation: Reservation) -> tuple[Leg, ...]:
    return tuple(Leg(kind=leg.kind, card=planned.cards[leg.rank]) for leg in reservation.legs)
