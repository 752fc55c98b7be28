"""vllm-router's power_of_two: the less loaded of two ranks drawn by chance. Pure.

Source: https://github.com/vllm-project/router at fa999f9, src/policies/power_of_two.rs, and
docs/load_balancing/README.md. Loads are polled, by default every 30 s; po2_1s is the same rule with a poll each second.

A rank's load is what it said at the last poll (requests it had, waiting or running) plus the requests that this router
has under way there, which is the router's own remedy for stale polls: right after a poll its own count twice. The first
of the two is taken where they are equal. In prefill-decode mode both ranks are drawn when the request comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from simulator.cluster.peers.counting_rule import CountingRule
from simulator.cluster.peers.polled import Polled
from simulator.cluster.peers.tally import one
from simulator.cluster.request import SimRequest


class PowerOfTwo(CountingRule):
    """`polled` is as old as its period."""

    def __init__(self, polled: Polled, chance: Random) -> None:
        super().__init__(one)
        self._polled, self._chance = polled, chance

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return self._rank(ranks)

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return self._rank(ranks)

    def _rank(self, ranks: Sequence[str]) -> str:
        return min(self._chance.sample(ranks, min(2, len(ranks))), key=self._load)

    def _load(self, rank: str) -> float:
        sample = self._polled.of(rank)
        return sample.running + sample.waiting + self.under_way.of(rank)
