"""What ranks truly hold of a prompt, as an index knows that is fed by the engines' KV events. Pure.

The events of a step come to a router within milliseconds; here they are known at once, in the peers' favour.
"""

from __future__ import annotations

from collections.abc import Mapping

from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.kv_cache import KvCache


class ExactPrefixes:
    """Looks into the prefix caches themselves."""

    def __init__(self, caches: Mapping[str, KvCache]) -> None:
        self._caches = caches
        self.ranks = tuple(caches)

    def held_blocks(self, rank: str, request: SimRequest) -> int:
        """Blocks of the prompt's beginning that a rank has and need not compute."""
        blocks = request.cacheable_blocks
        return len(self._caches[rank].match(blocks, len(blocks)))

    def uncached_tokens(self, rank: str, request: SimRequest) -> int:
        """Tokens of the prompt that a rank would have to compute."""
        return request.prompt_tokens - self.held_blocks(rank, request) * BLOCK_TOKENS
