"""LMetric: tokens to compute times requests, by own accounting and exact prefixes. Pure.

Source: https://arxiv.org/abs/2603.15202 ("LMetric: Simple is Better"): the product of the new prefill tokens a rank
would have and its batch size. As Dynamo's `router_selection_policy=lmetric` has it
(https://github.com/ai-dynamo/dynamo at 03037af, docs/components/router/router-concepts.md), the tokens are those under
way to the rank and the request's own, less what the rank has cached, and one is added to the batch, so that among idle
ranks the one that has most of the prompt is taken. Any of the least.

The paper is about ranks that prefill and decode; a decode rank of a pair has nothing to compute, so that the smallest
batch is taken, when the prefill is done. Batches are those of this router's own requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from simulator.cluster.peers.counting_rule import CountingRule
from simulator.cluster.peers.exact_prefixes import ExactPrefixes
from simulator.cluster.peers.least import least
from simulator.cluster.peers.rule import Leg
from simulator.cluster.peers.tally import one
from simulator.cluster.peers.uncached_legs import UncachedLegs
from simulator.cluster.request import SimRequest


class LMetric(CountingRule):
    """No weight to set."""

    decodes_late: ClassVar[bool] = True

    def __init__(self, exact: ExactPrefixes, chance: Random) -> None:
        super().__init__(one)
        self._exact, self._chance = exact, chance
        self._prefilling = UncachedLegs(exact)

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return least(ranks, lambda rank: self._score(rank, request), self._chance)

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return least(ranks, self.under_way.of, self._chance)

    def began(self, leg: Leg) -> None:
        """See Rule."""
        super().began(leg)
        self._prefilling.began(leg)

    def prefilled(self, leg: Leg) -> None:
        """See Rule."""
        super().prefilled(leg)
        self._prefilling.prefilled(leg)

    def _score(self, rank: str, request: SimRequest) -> float:
        tokens = self._prefilling.of(rank) + self._exact.uncached_tokens(rank, request)
        return tokens * (self.under_way.of(rank) + 1)
