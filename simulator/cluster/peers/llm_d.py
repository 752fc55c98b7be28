"""llm-d's scorers: a weighted sum of scores between 0 and 1, of which the highest wins. Pure.

Source: https://github.com/llm-d/llm-d-router at ebab687, pkg/epp/framework/plugins/scheduling/scorer (prefix,
loadaware, queuedepth, kvcacheutilization, preciseprefixcache), .../requestcontrol/dataproducer/approximateprefix
(indexer.go, README.md), .../scheduling/picker/maxscore; the weights in deploy/config.

prefix: blocks of the prompt that a rank has / all of them. load: 0.5 where nothing waits, falling to 0 at 128 waiting
requests. queue: (most waiting - waiting) / (most - least), 1 where all have the same. kv: the share of KV not held.
Metrics are scraped every 50 ms. The approximate prefixes are those this picker has sent itself, for each rank as many
blocks as it has, the first of a prompt forgotten first; the precise ones come of KV events, and what was placed within
2 s counts as held. A pair's ranks are picked together, each by the same scores among its own kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

import msgspec

from simulator.cluster.peers.least import least
from simulator.cluster.peers.llm_d_index import PrefixIndex
from simulator.cluster.peers.polled import Polled
from simulator.cluster.peers.rule import Leg, Rule
from simulator.cluster.request import BLOCK_TOKENS, SimRequest

SCRAPE_S = 0.05
FULL_WAITING = 128
MOST_MATCHED_TOKENS = 131_072


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """How much each score counts."""

    prefix: float
    load: float = 0.0
    queue: float = 0.0
    kv: float = 0.0


LOAD_AWARE = Weights(prefix=2.0, load=1.0)
"""epp-burst-prefix-cache-config.yaml."""
QUEUE = Weights(prefix=2.0, queue=1.0)
"""pd-epp-config.yaml, the sample for prefill and decode ranks."""
CHART = Weights(prefix=3.0, queue=2.0, kv=2.0)
"""config/charts/routerlib/templates/_config.yaml: what an installation has that configures nothing."""
PRECISE = Weights(prefix=2.0, queue=1.0, kv=1.0)
"""epp-precise-prefix-cache-config.yaml."""


class LlmD(Rule):
    """`polled` is the last scrape."""

    def __init__(self, weights: Weights, index: PrefixIndex, polled: Polled, chance: Random) -> None:
        self._weights, self._index, self._polled, self._chance = weights, index, polled, chance
        self._held: Mapping[str, int] = {}

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule. What is known of the prompt is looked up once for both legs."""
        self._look_up(request)
        return self._rank(request, ranks)

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return self._rank(request, ranks)

    def began(self, leg: Leg) -> None:
        """See Rule."""
        self._index.picked(leg.rank, _matched(leg.request))

    def _look_up(self, request: SimRequest) -> None:
        self._held = self._index.held_blocks(request, _matched(request))

    def _rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        most_blocks, held = max(1, len(_matched(request))), self._held
        samples = {rank: self._polled.of(rank) for rank in ranks}
        waiting = [sample.waiting for sample in samples.values()]
        fewest, most = min(waiting), max(waiting)
        weights = self._weights

        def cost(rank: str) -> float:
            sample = samples[rank]
            prefix = held.get(rank, 0) / most_blocks
            load = 0.5 * (1 - min(sample.waiting, FULL_WAITING) / FULL_WAITING)
            queue = (most - sample.waiting) / (most - fewest) if most > fewest else 1.0
            kv = 1 - sample.kv_usage
            return -(weights.prefix * prefix + weights.load * load + weights.queue * queue + weights.kv * kv)

        return least(ranks, cost, self._chance)


def _matched(request: SimRequest) -> Sequence[int]:
    return request.blocks[: MOST_MATCHED_TOKENS // BLOCK_TOKENS]
