"""The negative control: the least tokens, of those that this gateway itself has placed. Pure.

A prefill or mixed rank costs the prompt tokens that this gateway has under way there, in full until they are computed;
a decode rank twice the share of its sequences plus the share of its KV tokens that they are, as Forebay's own cost has
it (scheduler/policies/least_work.py). It is not Forebay without a ledger: it knows no prefixes and no progress, weighs
nothing by the length of the queues, and prefills on no decode rank. With one gateway that is all there is; with many
each sees its part.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from scheduler.policies.least_work import REQUEST_WEIGHT
from simulator.cluster.peers.counting_rule import CountingRule
from simulator.cluster.peers.least import least
from simulator.cluster.peers.rule import Leg
from simulator.cluster.peers.tally import LegTally, one, prompt_tokens
from simulator.cluster.request import SimRequest


class OwnCounts(CountingRule):
    """`max_num_seqs` and `kv_tokens` are those of a decode rank."""

    def __init__(self, *, max_num_seqs: int, kv_tokens: int, chance: Random) -> None:
        super().__init__(prompt_tokens)
        self._requests = LegTally(one)
        self._max_num_seqs, self._kv_tokens, self._chance = max_num_seqs, kv_tokens, chance

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return least(ranks, self.under_way.of, self._chance)

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return least(ranks, self._decode_cost, self._chance)

    def began(self, leg: Leg) -> None:
        """See Rule."""
        super().began(leg)
        self._requests.began(leg)

    def prefilled(self, leg: Leg) -> None:
        """See Rule."""
        super().prefilled(leg)
        self._requests.prefilled(leg)

    def ended(self, leg: Leg) -> None:
        """See Rule."""
        super().ended(leg)
        self._requests.ended(leg)

    def _decode_cost(self, rank: str) -> float:
        requests = REQUEST_WEIGHT * self._requests.of(rank) / self._max_num_seqs
        return requests + self.under_way.of(rank) / self._kv_tokens
