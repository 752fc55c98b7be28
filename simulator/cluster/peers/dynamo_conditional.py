"""Dynamo's conditional disaggregation: a prompt of which little is left is computed where it is decoded. Pure.

Source: https://github.com/ai-dynamo/dynamo at 07a6c9c, lib/llm/src/kv_router/prefill_router/conditional_bypass.rs and
lib/kv-router/src/scheduling/selector/default.rs (worker_logit); at 000bf40, .../prefill_router/mod.rs (generate,
build_decode_router_override); at 48bbf30, lib/kv-router/src/conditional_disagg.rs (IslBoundingPolicy, its thresholds).
--router-conditional-disagg with its defaults: isl_bounding, and no gate that asks how busy the decode rank is.

The decode router is asked first, for the rank that a whole request would cost the least: prompts to compute there, with
this one less what the rank has cached, and active blocks with its own. If fewer than 2,048 tokens of the prompt are not
cached there, and less than 0.7 of it, the rank does it all. Otherwise the prefill router chooses, and when the prefill
is done the decode router again, now by active blocks alone less what the rank has cached of the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulator.cluster.peers.dynamo import Dynamo
from simulator.cluster.peers.least import least
from simulator.cluster.request import SimRequest

UNCACHED_TOKENS = 2_048
UNCACHED_SHARE = 0.7


class DynamoConditional(Dynamo):
    """See the module."""

    def whole_rank(self, request: SimRequest, ranks: Sequence[str]) -> str | None:
        """See Rule."""
        rank = least(ranks, lambda rank: self._whole_cost(rank, request), self._chance)
        tokens = self._exact.uncached_tokens(rank, request)
        is_short = tokens < UNCACHED_TOKENS and tokens / request.prompt_tokens < UNCACHED_SHARE
        return rank if is_short else None

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule. All of the prompt's own blocks count as active, shared or not."""
        return least(
            ranks,
            lambda rank: self._active.active_tokens(rank) + self._exact.uncached_tokens(rank, request),
            self._chance,
        )
