"""Where a rank is: itself, and the group that steps it."""

from __future__ import annotations

from typing import NamedTuple

from simulator.cluster.dp_group import DpGroup
from simulator.cluster.engine import AnalyticRank
from simulator.cluster.sequence import SimSequence


class Site(NamedTuple):
    """One rank of the fleet, as requests reach it."""

    rank: AnalyticRank
    group: DpGroup

    def submit(self, sequence: SimSequence) -> None:
        """Queue a sequence; it must fit."""
        self.group.submit(self.rank, sequence)

    def loaded(self, sequence: SimSequence) -> None:
        """The KV that a sequence's rank has asked for is here."""
        self.group.loaded(self.rank, sequence)

    def release(self, sequence: SimSequence) -> None:
        """Nobody needs the KV of an ended sequence any more."""
        self.group.release(self.rank, sequence)
