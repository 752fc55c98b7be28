"""Places and rebinds without the shared ledger: by the last snapshot and this gateway's own counts since."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Protocol

import msgspec

from scheduler.alone import CHOICES, cheapest, choose_alone, own_decode
from scheduler.choice import missing
from scheduler.crowds import Crowds
from scheduler.decision import Candidate, Leg, Place, Reject, RequestShape
from scheduler.loads import Loads
from scheduler.messages import Phase, Role
from scheduler.planning import Plan, Rules, plan_alone
from scheduler.receipt_making import Case, decided_alone
from scheduler.receipts import Receipts, chance_of
from scheduler.recollection import Recollection
from scheduler.reservation import Reservation, reserve
from scheduler.tally import believed, tally_of
from scheduler.view import PoolView


class Book(Protocol):
    """A gateway's own reservations, which the store will be told of: scheduler/ledger.py, or in virtual time."""

    @property
    def live(self) -> dict[int, Reservation]:
        """What the gateway holds, by id."""

    @property
    def counters(self) -> Counter[str]:
        """Events since the start; placed_alone is counted here."""

    def adopt(self, reservation: Reservation) -> int:
        """Enters a reservation that was placed without asking the store; returns its id."""

    def bind(self, reservation_id: int, decode: Candidate) -> None:
        """Gives a pair whose prefill is done another decode leg without asking the store."""

    def advance(self, reservation_id: int, phase: Phase) -> None:
        """Moves a reservation to a later phase."""


class PlacingAlone:
    """What a pool does while the store cannot be asked; `name` is the pool's."""

    def __init__(self, name: str, book: Book, rules: Rules, rng: Random, receipts: Receipts | None = None) -> None:
        self._name, self._book, self._rules, self._rng = name, book, rules, rng
        self._receipts = receipts
        self._own_then: dict[str, Loads] = {}
        self._crowds = Crowds()
        self._recollection = Recollection()

    def notice(self, shape: RequestShape) -> None:
        """A request has come, wherever it will be placed."""
        if shape.blocks:
            self._crowds.see(shape.blocks)

    def placed(self, shape: RequestShape, reservation: Reservation, view: PoolView) -> None:
        """The store has placed a request, of which the index had said what ranks hold: what is remembered of both."""
        if self._rules.policy.knows_prefixes and shape.blocks:
            self._recollection.found(shape, view)
            self._recollection.placed(shape, [leg.rank for leg in reservation.legs], view)

    def remember(self) -> None:
        """A snapshot was read: what this gateway holds now is in it."""
        self._own_then = tally_of(self._book.live.values())

    def with_remembered(self, shape: RequestShape, view: PoolView) -> RequestShape:
        """The shape with what this gateway remembers that ranks hold of the prompt, where that is more than it says."""
        remembered = self._remembered(shape, view)
        more = {rank: max(tokens, shape.cached_tokens.get(rank, 0)) for rank, tokens in remembered.items()}
        return msgspec.structs.replace(shape, cached_tokens=shape.cached_tokens | more)

    def place(
        self,
        shape: RequestShape,
        view: PoolView,
        pool_ms: float,
        avoid: frozenset[str],
        case: Case | None = None,
    ) -> Place | Reject:
        """Enters a reservation of its own choice; a receipt is kept of a `case` that wants one."""
        chance = chance_of(case, self._rng)
        known = self._known(shape, view)
        planned = plan_alone(known, view, self._rules, pool_ms=pool_ms, chance=chance, avoid=avoid)
        if planned is None:
            return Reject(reason=missing(view, self._name))
        self._book.counters["placed_alone"] += 1
        loads = self._loads(planned, view, pool_ms)
        chosen = choose_alone(planned.ask, loads)
        reservation = reserve(planned.ask, chosen)
        reservation_id = self._book.adopt(reservation)
        self.placed(shape, reservation, view)
        if case:
            case = msgspec.structs.replace(case, shape=known)
        self._keep(case, planned, chosen, loads, reservation_id)
        return planned.place(reservation_id, reservation, alone=True)

    def rebind(
        self, reservation: int, planned: Plan, view: PoolView, pool_ms: float, case: Case | None = None
    ) -> Leg | None:
        """Keeps the decode leg if its rank can be placed on, else binds another; None if it was released meanwhile."""
        held = self._book.live.get(reservation)
        if held is None:
            return None
        loads = self._loads(planned, view, pool_ms)
        own = own_decode(planned.ask, held)
        if own is not None:
            self._book.advance(reservation, Phase.PREFILL_DONE)
            self._keep(case, planned, (own,), loads, reservation)
            return planned.leg(held.legs[-1])
        decodes = chance_of(case, self._rng).sample(planned.ask.decodes, min(CHOICES, len(planned.ask.decodes)))
        chosen = cheapest(decodes, loads)
        self._book.bind(reservation, chosen)
        self._keep(case, planned, (chosen,), loads, reservation)
        return planned.leg(self._book.live[reservation].legs[-1])

    def _known(self, shape: RequestShape, view: PoolView) -> RequestShape:
        """The shape with what stands for the prompt, and what is remembered of it."""
        ranks = len(view.by_role[Role.PREFILL]) + len(view.by_role[Role.MIXED])
        key = self._crowds.key(shape.blocks, ranks, self._rng) or shape.prompt_key
        return msgspec.structs.replace(shape, prompt_key=key, cached_tokens=self._remembered(shape, view))

    def _remembered(self, shape: RequestShape, view: PoolView) -> dict[str, int]:
        knows = self._rules.policy.knows_prefixes and shape.blocks
        return self._recollection.cached_tokens(shape, view) if knows else {}

    def _keep(
        self,
        case: Case | None,
        planned: Plan,
        chosen: tuple[Candidate, ...],
        loads: dict[str, Loads],
        reservation: int,
    ) -> None:
        if self._receipts and case and case.request:
            self._receipts.keep(case, planned, decided_alone(planned, chosen, loads, case.pool_ms, reservation))

    def _loads(self, planned: Plan, view: PoolView, pool_ms: float) -> dict[str, Loads]:
        seconds = (pool_ms - view.pool_ms) / 1000
        read = {name: rank.loads(view.pool_ms) for name, rank in planned.ranks.items()}
        computed = {name: seconds * rank.seen.prefill_tokens_per_s for name, rank in planned.ranks.items()}
        return believed(read, self._own_then, tally_of(self._book.live.values()), computed)
