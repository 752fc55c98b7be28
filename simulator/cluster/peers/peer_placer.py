"""Places as a peer does: one gateway's rule, told of nothing but this gateway's own requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from scheduler.decision import LegKind
from simulator.cluster.peers.rule import Leg, Rule
from simulator.cluster.placer import Placed
from simulator.cluster.request import SimRequest


class PeerPlacer:
    """One gateway's. `prefill`, `decode` and `mixed` are the fleet's ranks by name."""

    def __init__(self, rule: Rule, *, prefill: Sequence[str], decode: Sequence[str], mixed: Sequence[str]) -> None:
        self._rule, self._decode, self._mixed = rule, decode, frozenset(mixed)
        self._first = [*prefill, *mixed] if decode else list(mixed)
        self._numbers = count()
        self._legs: dict[int, list[Leg]] = {}

    def place(self, request: SimRequest, take: Callable[[Placed | None], None]) -> None:
        """See Placer."""
        if not self._first:
            take(None)
            return
        alone = self._rule.whole_rank(request, self._decode) if self._decode else None
        first = alone or self._rule.prefill_rank(request, self._first)
        number = next(self._numbers)
        self._legs[number] = []
        if alone or first in self._mixed:
            self._begin(number, Leg(LegKind.WHOLE, first, request))
            take(Placed(number=number, prefill_rank=first, decode_rank=first))
            return
        self._begin(number, Leg(LegKind.PREFILL, first, request))
        # Who chooses late is bound to none yet; the rank named meanwhile hears of nothing.
        decode = self._decode[0] if self._rule.decodes_late else self._chosen_decode(number, request)
        take(Placed(number=number, prefill_rank=first, decode_rank=decode))

    def dispatched(self, placed: Placed) -> None:
        """See Placer."""

    def prefill_done(self, placed: Placed, take: Callable[[str], None]) -> None:
        """See Placer."""
        prefill = self._legs[placed.number][0]
        self._rule.prefilled(prefill)
        late = self._rule.decodes_late
        take(self._chosen_decode(placed.number, prefill.request) if late else placed.decode_rank)

    def first_token(self, placed: Placed) -> None:
        """See Placer."""
        for leg in self._legs[placed.number]:
            if leg.kind is LegKind.WHOLE:
                self._rule.prefilled(leg)
            self._rule.answered(leg)

    def done(self, placed: Placed, request: SimRequest) -> None:
        """See Placer."""
        for leg in self._legs.pop(placed.number):
            self._rule.ended(leg)

    def _chosen_decode(self, number: int, request: SimRequest) -> str:
        rank = self._rule.decode_rank(request, self._decode)
        self._begin(number, Leg(LegKind.DECODE, rank, request))
        return rank

    def _begin(self, number: int, leg: Leg) -> None:
        self._legs[number].append(leg)
        self._rule.began(leg)
