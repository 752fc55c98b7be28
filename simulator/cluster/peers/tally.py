"""What a gateway has under way on each rank, by its own count alone. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from scheduler.decision import LegKind
from simulator.cluster.peers.rule import Leg


class Tally:
    """Sums by rank: requests, tokens or whatever a rule counts; 0 where nothing was counted."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)

    def add(self, rank: str, amount: float) -> None:
        """Count more, or with a negative amount less."""
        self._sums[rank] += amount

    def of(self, rank: str) -> float:
        """What is counted on a rank."""
        return self._sums.get(rank, 0.0)

    def clear(self) -> None:
        """Begin anew."""
        self._sums.clear()


class LegTally(Tally):
    """Counts `amount` of each leg while its rank has it: a prefill leg until its prompt is computed, others to the end.

    Its owner passes on what it hears of its legs.
    """

    def __init__(self, amount: Callable[[Leg], float]) -> None:
        super().__init__()
        self._amount = amount

    def began(self, leg: Leg) -> None:
        """See Rule."""
        self.add(leg.rank, self._amount(leg))

    def prefilled(self, leg: Leg) -> None:
        """See Rule."""
        if leg.kind is LegKind.PREFILL:
            self.add(leg.rank, -self._amount(leg))

    def ended(self, leg: Leg) -> None:
        """See Rule."""
        if leg.kind is not LegKind.PREFILL:
            self.add(leg.rank, -self._amount(leg))


def one(_leg: Leg) -> float:
    """Each leg counts the same."""
    return 1


def prompt_tokens(leg: Leg) -> float:
    """A leg counts as much as its prompt is long."""
    return leg.request.prompt_tokens
