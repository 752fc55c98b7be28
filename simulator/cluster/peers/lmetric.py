"""LMetric: tokens to compute times requests, by own accounting and exact prefixes. Pure.

Source: https://arxiv.org/abs/2603.15202 ("LMetric: Simple is Better"): the product of the new prefill tokens a rank
would have and its batch size. One is added to the batch, so that among idle ranks the one that has most of the prompt
is taken, as Dynamo's `router_selection_policy=lmetric` does (https://github.com/ai-dynamo/dynamo at 03037af,
docs/components/router/router-concepts.md). Dynamo counts the tokens under way to the rank too; that loses the prefix
cache on Mooncake's trace at load 0.9 (27 s of TTFT instead of 7), so here the tokens are those of the request alone.
Any of the least.

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
from simulator.cluster.peers.tally import one
from simulator.cluster.request import SimRequest


class LMetric(CountingRule):
    """No weight to set."""

    decodes_late: ClassVar[bool] = True

    def __init__(self, exact: ExactPrefixes, chance: Random) -> None:
        super().__init__(one)
        self._exact, self._chance = exact, chance

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return least(ranks, lambda rank: self._score(rank, request), self._chance)

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return least(ranks, self.under_way.of, self._chance)

    def _score(self, rank: str, request: SimRequest) -> float:
        return self._exact.uncached_tokens(rank, request) * (self.under_way.of(rank) + 1)
