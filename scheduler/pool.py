"""One pool as a gateway uses it: a request's shape in, a decision out."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from random import Random

import anyio
import msgspec

from scheduler.breakers import Breakers
from scheduler.cases import Cases
from scheduler.choice import choose, missing
from scheduler.decision import Decision, Leg, Place, Reject, RequestShape, Wait
from scheduler.keys import PoolKeys
from scheduler.ledger import Ledger
from scheduler.messages import Phase, RankCard
from scheduler.named_rank import Fault, fault_of
from scheduler.placing_alone import PlacingAlone
from scheduler.planning import Rules, plan
from scheduler.prefix_index import PrefixIndex
from scheduler.reach import Reach
from scheduler.rebinding import plan_rebinding, shape_of, still_up
from scheduler.receipts import Receipts, chance_of, maker_of
from scheduler.settings import SchedulerSettings
from scheduler.snapshots import Snapshots
from scheduler.store import Store
from scheduler.view import PoolView

RETRY_AFTER_MS = 1_000
LEAVE_WITHIN_S = 1.0


class Pool:
    """One pool: its last snapshot, this gateway's reservations in it, its rules. `clock` answers monotonic seconds."""

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
        self.name, keys = name, PoolKeys(name)
        self._receipts = Receipts(store, keys, settings, maker_of(name, gateway, rules))
        self._ledger = Ledger(store, keys, gateway=gateway, settings=settings, rng=rng)
        self.decode_waits = self._ledger.decode_waits
        """The decode rank of a pair has the request before its prefill is done; returns at once."""
        self._alone = PlacingAlone(name, self._ledger, rules, rng, self._receipts)
        self._snapshots = Snapshots(store, keys, settings, statements=lambda: self._ledger.statements, clock=clock)
        self.refresh = self._snapshots.read
        """Reads a first snapshot, before `run`."""
        self._reach = Reach(self._ledger, self._snapshots)
        self._prefixes = PrefixIndex(store, keys, settings, is_asked=rules.policy.knows_prefixes)
        self.foresee = self._prefixes.foresee
        """Has the prompt of a shape looked up that is about to be placed; returns at once."""
        self._rules, self._rng, self._turns = rules, rng, itertools.count()
        self._cases = Cases(self._snapshots, rng)
        self._breakers = Breakers(store, keys, settings, self._snapshots, self._reach, gateway, self._ledger.live)
        self.shun = self._breakers.shun
        """The rank took no connection: for a while it is placed on only if there is no other."""
        self._snapshots.on_read += (self._alone.remember, self._breakers.look)

    @property
    def degraded(self) -> bool:
        """Whether requests are placed without the shared ledger, or no snapshot could be read for long."""
        return self._reach.is_cut_off or self._snapshots.is_stale

    @property
    def snapshot_age_s(self) -> float:
        """How long ago the last snapshot was read."""
        return self._snapshots.age_s

    @property
    def complaint(self) -> str:
        """Why the store gives no newer snapshot; empty: it does."""
        return self._snapshots.complaint

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
        placed_alone, unreadable_rows, what PrefixIndex and Breakers count, receipts, receipts_lost.
        """
        read = Counter(unreadable_rows=self._snapshots.unreadable, snapshot_losses=self._snapshots.losses)
        parts = (self._ledger, self._prefixes, self._receipts, self._breakers)
        return sum((part.counters for part in parts), read)

    @property
    def left_out(self) -> frozenset[str]:
        """The ranks that are left out now: by their breakers, or since they took no connection."""
        return self._breakers.out()

    def fault_of(self, rank: str) -> Fault | None:
        """Why no request that names this rank can be placed, by the last snapshot; None: it can."""
        return fault_of(self.view, rank)

    @property
    def reservations(self) -> int:
        """How many reservations this gateway holds."""
        return len(self._ledger.live)

    async def place(
        self,
        shape: RequestShape,
        *,
        receipt_for: str = "",
        avoid: frozenset[str] = frozenset(),
        instead_of: int | None = None,
    ) -> Decision:
        """Decides where a request goes and reserves it there.

        A prefill rank to `avoid` is not taken, any other only where none is left. A receipt is kept under the request
        id `receipt_for`, if there is one. The request's own reservation that failed, `instead_of`, is given back before
        loads are looked at, in the same call; after this one nothing of it is held, whatever comes of it.

        Never fails for Redis: without it the decision is made alone and says so. Safe to cancel: an answer that nobody
        awaits is given back. A rank that restarted since the snapshot is looked up once more before a Reject.
        """
        self._alone.notice(shape)
        try:
            decision = await self._place_once(shape, receipt_for, avoid, instead_of)
            if isinstance(decision, Reject):
                if not self._reach.is_cut_off:
                    await self._snapshots.newer()
                decision = await self._place_once(shape, receipt_for, avoid, instead_of)
            return decision
        finally:
            self._give_back(instead_of)

    async def rank_comes(self, shape: RequestShape, avoid: frozenset[str]) -> None:
        """Returns after a snapshot, read from now on, that has a rank for a request; there may never be one."""
        await self._snapshots.awaited.wait(lambda view: bool(choose(shape, view, self._rules.connectors, avoid)))

    async def rebind(
        self, reservation: int, *, receipt_for: str = "", avoid: frozenset[str] = frozenset()
    ) -> Leg | None:
        """The prefill of a pair is done: answers the decode leg to go on with, that of the placement or a better one.

        Ranks to `avoid` are taken only where no other is left. None if no decode rank can go on with it any more, or
        the reservation was released; a rank that was only drained meanwhile can. Never fails for Redis: without it the
        leg is kept if its rank can be placed on. Safe to cancel. A receipt is kept as for `place`.
        """
        held = self._ledger.live.get(reservation)
        if held is None:
            return None
        self._prefixes.computed(reservation)
        case = self._cases.case(receipt_for, shape_of(held), avoid | self._breakers.out(reservation), held=held)
        planned = plan_rebinding(
            held, case.view, self._rules, pool_ms=case.pool_ms, chance=chance_of(case, self._rng), avoid=case.avoid
        )
        if planned is None:
            self._ledger.advance(reservation, Phase.PREFILL_DONE)
            leg = still_up(self.view, held.legs[-1])
        elif (
            self._reach.is_cut_off
            or (answer := await self._ledger.rebind(reservation, case.explained(planned.ask))) is None
        ):
            leg = self._alone.rebind(reservation, planned, case.view, case.pool_ms, case)
        else:
            self._receipts.keep_answer(case, planned, answer)
            leg = planned.leg(answer.reservation.legs[-1]) if answer.reservation else None
        if leg:
            self._prefixes.bound(reservation, leg.card.rank, self.view)
        return leg

    def advance(self, reservation: int, phase: Phase) -> None:
        """The request has come to a later phase; returns at once."""
        if phase >= Phase.PREFILL_DONE:
            self._prefixes.decodes(reservation, self._ledger.live.get(reservation), self.view)
        self._ledger.advance(reservation, phase)

    def release(self, reservation: int) -> None:
        """The request holds nothing any more; returns at once, idempotent."""
        self._prefixes.released(reservation)
        self._ledger.release(reservation)

    def heard(self, card: RankCard, well: bool, reservation: int | None = None) -> None:
        """An attempt at a rank ended so, of the request with this `reservation` if it was placed; returns at once."""
        self._breakers.heard(card, reservation, well=well)

    async def run(self) -> None:
        """Keeps the snapshot and the ledger until cancelled; then gives everything back."""
        try:
            async with asyncio.TaskGroup() as tasks:
                runs = (self._ledger.run, self._ledger.reaper.run, self._snapshots.run)
                for run in (*runs, self._prefixes.run, self._receipts.run, self._breakers.run):
                    tasks.create_task(run(), name=f"{run.__qualname__} of {self.name}")
        finally:
            with anyio.move_on_after(LEAVE_WITHIN_S, shield=True):
                await self._ledger.leave()
                await self._receipts.leave()

    async def _place_once(
        self, shape: RequestShape, receipt_for: str, avoid: frozenset[str], instead_of: int | None
    ) -> Decision:
        with self._breakers.trial() as trial:
            return trial.ends(await self._decide(shape, receipt_for, avoid | trial.out, instead_of))

    async def _decide(
        self, shape: RequestShape, receipt_for: str, avoid: frozenset[str], instead_of: int | None
    ) -> Decision:
        if self._reach.is_cut_off:
            self._give_back(instead_of)
            return self._place_alone(shape, receipt_for, avoid)
        found = await self._prefixes.look_up(shape, self.view)
        known = msgspec.structs.replace(shape, cached_tokens=found.held.tokens)
        if self._snapshots.is_anew:
            known = self._alone.with_remembered(known, self.view)
        case = self._cases.case(receipt_for, known, avoid, turn=next(self._turns))
        chance = chance_of(case, self._rng)
        planned = plan(
            known, case.view, self._rules, pool_ms=case.pool_ms, turn=case.turn, chance=chance, avoid=case.avoid
        )
        if planned is None:
            return Reject(reason=missing(self.view, self.name))
        placed = await self._ledger.place(case.explained(planned.ask), instead_of)
        if placed is None:
            return self._place_alone(shape, receipt_for, avoid)
        self._receipts.keep_answer(case, planned, placed)
        if placed.reservation is None:
            no_rank = Reject(reason=f"no rank of {self.name} is up")
            return Wait(retry_after_ms=RETRY_AFTER_MS) if placed.wait else no_rank
        self._alone.placed(known, placed.reservation, case.view)
        self._prefixes.placed(found, placed.reservation_id, placed.reservation, planned.ranks)
        return planned.place(placed.reservation_id, placed.reservation, cost_s=placed.cost_s, receipt=placed.receipt)

    def _give_back(self, reservation: int | None) -> None:
        if reservation is not None:
            self.release(reservation)

    def _place_alone(self, shape: RequestShape, receipt_for: str, avoid: frozenset[str]) -> Place | Reject:
        case = self._cases.case(receipt_for, shape, avoid)
        return self._alone.place(shape, case.view, case.pool_ms, case.avoid, case)
