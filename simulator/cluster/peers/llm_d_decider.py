"""llm-d's prefix-based decider: a prompt of which little is left is computed where it is decoded. Pure.

Source: https://github.com/llm-d/llm-d-inference-scheduler (now llm-d-router) at 520af47,
pkg/epp/framework/plugins/scheduling/profilehandler/disagg/disagg_profile_handler.go (Pick) and
prefix_based_pd_decider.go (disaggregate); the threshold in deploy/config/pd-epp-config.yaml. Unconfigured it is 0, and
no prefill rank is ever used.

The decode profile picks first, by the scores. If fewer than `nonCachedTokens` of the prompt are not among the picked
rank's hits, the rank does it all; otherwise the prefill profile picks the rank that prefills for it.

In the decider's favour: it knows the prompt's true length, where theirs divides characters by four where no tokenizer
says it, and the hits of the precise index, with which their configurations do not combine it.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from simulator.cluster.peers.llm_d import LlmD, Weights
from simulator.cluster.peers.llm_d_index import PrefixIndex
from simulator.cluster.peers.polled import Polled
from simulator.cluster.request import BLOCK_TOKENS, SimRequest

CONFIGURED_TOKENS = 16
"""pd-epp-config.yaml."""
GENEROUS_TOKENS = 2_048
"""Nobody's configuration, in llm-d's favour: Dynamo's. Blocks of 512 tokens seldom leave less than 16 over."""


class LlmDDecider(LlmD):
    """`non_cached_tokens`: of a prompt, from which on a prefill rank computes it."""

    def __init__(
        self, weights: Weights, index: PrefixIndex, polled: Polled, chance: Random, *, non_cached_tokens: int
    ) -> None:
        super().__init__(weights, index, polled, chance)
        self._non_cached_tokens = non_cached_tokens
        self._picked = ""

    def whole_rank(self, request: SimRequest, ranks: Sequence[str]) -> str | None:
        """See Rule."""
        self._look_up(request)
        self._picked = self._rank(request, ranks)
        non_cached_tokens = request.prompt_tokens - self._held.get(self._picked, 0) * BLOCK_TOKENS
        return self._picked if non_cached_tokens < self._non_cached_tokens else None

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule. It was picked already."""
        return self._picked
