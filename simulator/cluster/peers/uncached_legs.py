"""How many tokens of the prompts that a gateway has sent to each rank are still to be computed there. Pure."""

from __future__ import annotations

from scheduler.decision import LegKind
from simulator.cluster.peers.exact_prefixes import ExactPrefixes
from simulator.cluster.peers.rule import Leg
from simulator.cluster.peers.tally import Tally


class UncachedLegs:
    """Each prompt counts with what its rank had not cached when it was sent, in full until it is computed."""

    def __init__(self, exact: ExactPrefixes) -> None:
        self._exact, self._tokens = exact, Tally()
        self._sent: dict[int, int] = {}

    def of(self, rank: str) -> float:
        """Tokens under way to the rank's cache."""
        return self._tokens.of(rank)

    def began(self, leg: Leg) -> None:
        """See Rule."""
        if leg.kind is not LegKind.DECODE:
            tokens = self._exact.uncached_tokens(leg.rank, leg.request)
            self._sent[leg.request.number] = tokens
            self._tokens.add(leg.rank, tokens)

    def prefilled(self, leg: Leg) -> None:
        """See Rule."""
        self._tokens.add(leg.rank, -self._sent.pop(leg.request.number))
