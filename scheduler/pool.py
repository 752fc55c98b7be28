"""One pool as a gateway uses it: a request's shape in, a decision out."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from random import Random

import anyio
import msgspec

from scheduler.alone import choose_alone
from scheduler.decision import Decision, Leg, Place, Reject, RequestShape, Wait
from scheduler.keys import PoolKeys
from scheduler.ledger import Ledger
from scheduler.loads import Loads
from scheduler.messages import Phase
from scheduler.planning import Plan, Rules, plan, plan_alone
from scheduler.reservation import Reservation, reserve
from scheduler.settings import SchedulerSettings
from scheduler.snapshots import Snapshots
from scheduler.store import Store
from scheduler.tally import believed, tally_of
from scheduler.view import PoolView

RETRY_AFTER_MS = 1_000
LEAVE_WITHIN_S = 1.0
SHUN_S = 2.0
"""How long a rank that took no connection is left out: its agent says sooner that it is down, or died with it."""


class Pool:
    """One pool: its last snapshot, this gateway's reservations in it, and the rules it places by.

    `clock` answers monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        rules: Rules,
        *,
        gateway: str,
        settings: SchedulerSettings,
        rng: Random,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        keys = PoolKeys(name)
        self._ledger = Ledger(store, keys, gateway=gateway, settings=settings, rng=rng)
        self._snapshots = Snapshots(
            store,
            keys,
            settings,
            statements=lambda: self._ledger.statements,
            on_read=self._remember_own,
            clock=clock,
        )
        self._rules, self._rng, self._clock = rules, rng, clock
        self._turns = itertools.count()
        self._own_then: dict[str, Loads] = {}
        self._shunned: dict[str, float] = {}

    @property
    def degraded(self) -> bool:
        """Whether requests are placed without the shared ledger: it is lost or slow, or is being rebuilt.

        Or no snapshot could be read for long.
        """
        if self._ledger.names.epoch != self.view.epoch:
            self._snapshots.hurry()  # the store began anew: which ranks it knows shows in the next snapshot
            return True
        return self._ledger.degraded or self._snapshots.rebuilding or self._snapshots.is_stale

    @property
    def snapshot_age_s(self) -> float:
        """How long ago the last snapshot was read."""
        return self._snapshots.age_s

    @property
    def view(self) -> PoolView:
        """The last snapshot."""
        return self._snapshots.view

    @property
    def was_read(self) -> bool:
        """Whether the store has answered for this pool once."""
        return self._snapshots.was_read

    @property
    def counters(self) -> Counter[str]:
        """Events since the start: resyncs (that the store asked for), place_misses, store_losses, snapshot_losses,
        placed_alone, unreadable_rows.
        """
        read = Counter(unreadable_rows=self._snapshots.unreadable, snapshot_losses=self._snapshots.losses)
        return self._ledger.counters + read

    @property
    def reservations(self) -> int:
        """How many reservations this gateway holds."""
        return len(self._ledger.live)

    async def place(
        self, shape: RequestShape, *, explain: bool = False, avoid: frozenset[str] = frozenset()
    ) -> Decision:
        """Decides where a request goes and reserves it there; ranks to `avoid` are taken only where no other is left.

        Never fails for Redis: without it the decision is made alone and says so. Safe to cancel: an answer that nobody
        awaits is given back. A rank that restarted since the snapshot is looked up once more before a Reject.
        """
        decision = await self._place_once(shape, explain=explain, avoid=avoid)
        if isinstance(decision, Reject):
            if not self.degraded:
                await self._snapshots.newer()
            decision = await self._place_once(shape, explain=explain, avoid=avoid)
        return decision

    async def rebind(self, reservation: int) -> Leg | None:
        """The prefill of a pair is done: answers the decode leg to go on with.

        None if its rank cannot be placed on any more, or the reservation was released.
        """
        held = self._ledger.live.get(reservation)
        if held is None:
            return None
        self._ledger.advance(reservation, Phase.PREFILL_DONE)
        placed = held.legs[-1]
        for rank in self.view.placeable():
            if (rank.card.rank, rank.card.incarnation) == (placed.rank, placed.incarnation):
                return Leg(kind=placed.kind, card=rank.card)
        return None

    def advance(self, reservation: int, phase: Phase) -> None:
        """The request has come to a later phase; returns at once."""
        self._ledger.advance(reservation, phase)

    def release(self, reservation: int) -> None:
        """The request holds nothing any more; returns at once, idempotent."""
        self._ledger.release(reservation)

    def shun(self, rank: str) -> None:
        """The rank took no connection: for a while it is placed on only if there is no other."""
        self._shunned[rank] = self._clock() + SHUN_S

    async def refresh(self) -> None:
        """Reads a first snapshot, before `run`."""
        await self._snapshots.read()

    async def run(self) -> None:
        """Keeps the snapshot and the ledger until cancelled; then gives everything back."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ledger.run(), name=f"ledger of {self.name}")
                tasks.create_task(self._ledger.reaper.run(), name=f"reaper of {self.name}")
                tasks.create_task(self._snapshots.run(), name=f"snapshots of {self.name}")
        finally:
            with anyio.move_on_after(LEAVE_WITHIN_S, shield=True):
                await self._ledger.leave()

    def _remember_own(self) -> None:
        self._own_then = tally_of(self._ledger.live.values())

    async def _place_once(self, shape: RequestShape, *, explain: bool, avoid: frozenset[str]) -> Decision:
        avoid = avoid | self._shunned_now()
        if self.degraded:
            return self._place_alone(shape, avoid)
        planned = plan(
            shape,
            self.view,
            self._rules.policy,
            pool_ms=self._pool_ms(),
            turn=next(self._turns),
            chance=self._rng,
            avoid=avoid,
        )
        if planned is None:
            return self._nothing_placeable()
        placed = await self._ledger.place(msgspec.structs.replace(planned.ask, explain=explain))
        if placed is None:
            return self._place_alone(shape, avoid)
        if placed.reservation is None:
            if placed.wait:
                return Wait(retry_after_ms=RETRY_AFTER_MS)
            return Reject(reason=f"no rank of {self.name} is up")
        return Place(
            reservation=placed.reservation_id,
            legs=_legs(planned, placed.reservation),
            cost_s=placed.cost_s,
            first_token_s=planned.first_token_s(placed.reservation.legs[0].rank),
            receipt=placed.receipt,
        )

    def _pool_ms(self) -> float:
        return self.view.pool_ms + (self._clock() - self._snapshots.read_at) * 1000

    def _shunned_now(self) -> frozenset[str]:
        now_s = self._clock()
        return frozenset(rank for rank, until_s in self._shunned.items() if now_s < until_s)

    def _nothing_placeable(self) -> Reject:
        return Reject(reason=f"no rank of {self.name} can take a request now")

    def _place_alone(self, shape: RequestShape, avoid: frozenset[str]) -> Place | Reject:
        planned = plan_alone(
            shape, self.view, self._rules.policy, pool_ms=self._pool_ms(), chance=self._rng, avoid=avoid
        )
        if planned is None:
            return self._nothing_placeable()
        self._ledger.counters["placed_alone"] += 1
        loads = believed(planned.loads, self._own_then, tally_of(self._ledger.live.values()))
        reservation = reserve(planned.ask, (choose_alone(planned.ask.singles, loads),))
        legs = _legs(planned, reservation)
        return Place(
            reservation=self._ledger.adopt(reservation),
            legs=legs,
            cost_s=0.0,
            first_token_s=planned.first_token_s(reservation.legs[0].rank),
            alone=True,
        )


def _legs(planned: Plan, reservation: Reservation) -> tuple[Leg, ...]:
    return tuple(Leg(kind=leg.kind, card=planned.ranks[leg.rank].card) for leg in reservation.legs)
