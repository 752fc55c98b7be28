"""SMG's cache_aware with KV events: the rank that holds the most of the prompt, while own counts are balanced. Pure.

Source: https://github.com/lightseekorg/smg at 73da68c, model_gateway/src/policies/cache_aware.rs
(select_worker_event_driven, score_overlap), the mode for workers that are reached by gRPC and publish KV events.

As smg_cache_aware, with what ranks hold in place of the own tree, and without its threshold: any block that is held
counts. Of ranks that hold equally much the one with the fewest own requests is taken; where none holds any, the one
with the fewest of all.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulator.cluster.peers.exact_prefixes import ExactPrefixes
from simulator.cluster.peers.smg_cache_aware import SmgCounts
from simulator.cluster.request import SimRequest


class SmgEvents(SmgCounts):
    """Its own counts tell only whether to go by prefixes."""

    def __init__(self, exact: ExactPrefixes) -> None:
        super().__init__()
        self._exact = exact

    def cached_rank(self, request: SimRequest, ranks: Sequence[str]) -> str | None:
        """See SmgCounts."""
        held = {rank: self._exact.held_blocks(rank, request) for rank in ranks}
        most = max(held.values())
        return self.decode_rank(request, [rank for rank in ranks if held[rank] == most]) if most else None
