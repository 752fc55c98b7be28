"""Places and rebinds without the shared ledger: by the last snapshot and this gateway's own counts since."""

from __future__ import annotations

from random import Random

from scheduler.alone import CHOICES, cheapest, choose_alone, own_decode
from scheduler.choice import missing
from scheduler.decision import Candidate, Leg, Place, Reject, RequestShape
from scheduler.ledger import Ledger
from scheduler.loads import Loads
from scheduler.messages import Phase
from scheduler.planning import Plan, Rules, plan_alone
from scheduler.receipt_making import Case, decided_alone
from scheduler.receipts import Receipts, chance_of
from scheduler.reservation import reserve
from scheduler.tally import believed, tally_of
from scheduler.view import PoolView


class PlacingAlone:
    """What a pool does while the store cannot be asked; `name` is the pool's."""

    def __init__(self, name: str, ledger: Ledger, rules: Rules, rng: Random, receipts: Receipts | None = None) -> None:
        self._name, self._ledger, self._rules, self._rng = name, ledger, rules, rng
        self._receipts = receipts
        self._own_then: dict[str, Loads] = {}

    def remember(self) -> None:
        """A snapshot was read: what this gateway holds now is in it."""
        self._own_then = tally_of(self._ledger.live.values())

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
        planned = plan_alone(shape, view, self._rules, pool_ms=pool_ms, chance=chance, avoid=avoid)
        if planned is None:
            return Reject(reason=missing(view, self._name))
        self._ledger.counters["placed_alone"] += 1
        loads = self._loads(planned)
        chosen = choose_alone(planned.ask, loads)
        reservation = reserve(planned.ask, chosen)
        reservation_id = self._ledger.adopt(reservation)
        self._keep(case, planned, chosen, loads, reservation_id)
        return Place(
            reservation=reservation_id,
            legs=planned.legs(reservation),
            cost_s=0.0,
            first_token_s=planned.first_token_s(reservation),
            alone=True,
        )

    def rebind(self, reservation: int, planned: Plan, case: Case | None = None) -> Leg | None:
        """Keeps the decode leg if its rank can be placed on, else binds another; None if it was released meanwhile."""
        held = self._ledger.live.get(reservation)
        if held is None:
            return None
        loads = self._loads(planned)
        own = own_decode(planned.ask, held)
        if own is not None:
            self._ledger.advance(reservation, Phase.PREFILL_DONE)
            self._keep(case, planned, (own,), loads, reservation)
            return planned.leg(held.legs[-1])
        decodes = chance_of(case, self._rng).sample(planned.ask.decodes, min(CHOICES, len(planned.ask.decodes)))
        chosen = cheapest(decodes, loads)
        self._ledger.bind(reservation, chosen)
        self._keep(case, planned, (chosen,), loads, reservation)
        return planned.leg(self._ledger.live[reservation].legs[-1])

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

    def _loads(self, planned: Plan) -> dict[str, Loads]:
        return believed(planned.loads, self._own_then, tally_of(self._ledger.live.values()))
