"""SMG's least_load: the shortest expected wait by a polled load and what was sent since. Pure.

Source: https://github.com/lightseekorg/smg at 73da68c, model_gateway/src/policies/least_load.rs (score, update_loads,
the documentation of its knobs); model_gateway/src/config/types.rs for the poll every 10 s.

A rank scores (uncached tokens of prompts that wait + tokens sent since the poll) / tokens generated a second + 0.15 x k
/ (1 - k), k being its share of KV held; 2,000 tokens a second where it generates none, as a prefill rank. A poll sets
what was sent back to nothing. Tokens of a request are known, as they are on its gRPC path: over HTTP each would count
1,024. The first of several is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulator.cluster.peers.polled import Polled
from simulator.cluster.peers.rule import Leg, Rule
from simulator.cluster.peers.tally import Tally
from simulator.cluster.request import SimRequest

POLL_S = 10.0
KV_PRESSURE_WEIGHT_S = 0.15
DEFAULT_TOKENS_PER_S = 2_000.0
MOST_KV_USAGE = 0.999


class SmgLeastLoad(Rule):
    """`polled` says how much waits and how fast ranks generate."""

    def __init__(self, polled: Polled) -> None:
        self._polled, self._polls, self._sent_tokens = polled, polled.polls, Tally()

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return self._rank(ranks)

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return self._rank(ranks)

    def began(self, leg: Leg) -> None:
        """See Rule."""
        self._sent_tokens.add(leg.rank, leg.request.prompt_tokens)

    def _rank(self, ranks: Sequence[str]) -> str:
        if self._polled.polls != self._polls:
            self._polls = self._polled.polls
            self._sent_tokens.clear()
        return min(ranks, key=self._score_s)

    def _score_s(self, rank: str) -> float:
        sample = self._polled.of(rank)
        tokens = sample.waiting_tokens + self._sent_tokens.of(rank)
        usage = min(sample.kv_usage, MOST_KV_USAGE)
        return tokens / (sample.tokens_per_s or DEFAULT_TOKENS_PER_S) + KV_PRESSURE_WEIGHT_S * usage / (1 - usage)
