"""Places and rebinds without the shared ledger: by the last snapshot and this gateway's own counts since."""

from __future__ import annotations

from random import Random

from scheduler.alone import CHOICES, cheapest, choose_alone
from scheduler.choice import missing
from scheduler.decision import Leg, Place, Reject, RequestShape
from scheduler.ledger import Ledger
from scheduler.loads import Loads
from scheduler.messages import Phase
from scheduler.planning import Plan, Rules, plan_alone
from scheduler.reservation import reserve
from scheduler.tally import believed, tally_of
from scheduler.view import PoolView


class PlacingAlone:
    """What a pool does while the store cannot be asked; `name` is the pool's."""

    def __init__(self, name: str, ledger: Ledger, rules: Rules, rng: Random) -> None:
        self._name, self._ledger, self._rules, self._rng = name, ledger, rules, rng
        self._own_then: dict[str, Loads] = {}

    def remember(self) -> None:
        """A snapshot was read: what this gateway holds now is in it."""
        self._own_then = tally_of(self._ledger.live.values())

    def place(self, shape: RequestShape, view: PoolView, pool_ms: float, avoid: frozenset[str]) -> Place | Reject:
        """Enters a reservation of its own choice."""
        planned = plan_alone(shape, view, self._rules, pool_ms=pool_ms, chance=self._rng, avoid=avoid)
        if planned is None:
            return Reject(reason=missing(view, self._name))
        self._ledger.counters["placed_alone"] += 1
        reservation = reserve(planned.ask, choose_alone(planned.ask, self._loads(planned)))
        return Place(
            reservation=self._ledger.adopt(reservation),
            legs=planned.legs(reservation),
            cost_s=0.0,
            first_token_s=planned.first_token_s(reservation),
            alone=True,
        )

    def rebind(self, reservation: int, planned: Plan) -> Leg | None:
        """Keeps the decode leg if its rank can be placed on, else binds another; None if it was released meanwhile."""
        held = self._ledger.live.get(reservation)
        if held is None:
            return None
        own = held.legs[-1]
        for candidate in planned.ask.decodes:
            if (candidate.rank, candidate.incarnation) == (own.rank, own.incarnation):
                self._ledger.advance(reservation, Phase.PREFILL_DONE)
                return planned.leg(own)
        decodes = self._rng.sample(planned.ask.decodes, min(CHOICES, len(planned.ask.decodes)))
        self._ledger.bind(reservation, cheapest(decodes, self._loads(planned)))
        return planned.leg(self._ledger.live[reservation].legs[-1])

    def _loads(self, planned: Plan) -> dict[str, Loads]:
        return believed(planned.loads, self._own_then, tally_of(self._ledger.live.values()))
