"""A rule that goes by one own count of what each rank has under way. Pure."""

from __future__ import annotations

from collections.abc import Callable

from simulator.cluster.peers.rule import Leg, Rule
from simulator.cluster.peers.tally import LegTally


class CountingRule(Rule):
    """Keeps `under_way`, which counts `amount` of each leg that a rank has from this gateway."""

    def __init__(self, amount: Callable[[Leg], float]) -> None:
        self.under_way = LegTally(amount)

    def began(self, leg: Leg) -> None:
        """See Rule."""
        self.under_way.began(leg)

    def prefilled(self, leg: Leg) -> None:
        """See Rule."""
        self.under_way.prefilled(leg)

    def ended(self, leg: Leg) -> None:
        """See Rule."""
        self.under_way.ended(leg)
