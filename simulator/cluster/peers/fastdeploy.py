"""FastDeploy's splitwise scheduler: the least load in Redis, blurred. Pure.

Source: https://github.com/PaddlePaddle/FastDeploy at 2412773, fastdeploy/scheduler/splitwise_scheduler.py
(APIScheduler.schedule and select_pd, InferScheduler.loop_get_reqs, NodeInfo).

Each node publishes its own load every 5 ms: a prefill or mixed node the prompt tokens it has pulled and not finished, a
decode node its requests. Any front reads all of them for each request, sorts prefill and mixed nodes in one list, and
takes any node whose load is less than the least plus a step: half of the prompt's tokens below 1,000, a tenth above, at
the least 100 and at the most 500; for decode nodes as many requests as there are nodes, at the most 10. Cached
prefixes count for nothing. A request shows in the load when its node has pulled it: the fronts share what they see, and
nobody sees what is on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from scheduler.decision import LegKind
from simulator.cluster.peers.rule import Leg, Rule
from simulator.cluster.request import SimRequest

HEARTBEAT_S = 0.005
SHORT_TOKENS = 1_000
LEAST_STEP_TOKENS, MOST_STEP_TOKENS = 100, 500
MOST_DECODE_STEP = 10


class FastDeploy(Rule):
    """`published` is a node's load as it is in Redis; `pulled` tells of the load that a node gets or gives back."""

    def __init__(self, published: Callable[[str], float], pulled: Callable[[str, float], None], chance: Random) -> None:
        self._published, self._pulled, self._chance = published, pulled, chance

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        tokens = request.prompt_tokens
        step = tokens // (2 if tokens < SHORT_TOKENS else 10)
        return self._blurred(ranks, max(LEAST_STEP_TOKENS, min(MOST_STEP_TOKENS, step)))

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return self._blurred(ranks, min(len(ranks), MOST_DECODE_STEP))

    def began(self, leg: Leg) -> None:
        """See Rule."""
        self._pulled(leg.rank, _load(leg))

    def prefilled(self, leg: Leg) -> None:
        """See Rule."""
        if leg.kind is LegKind.PREFILL:
            self._pulled(leg.rank, -_load(leg))

    def ended(self, leg: Leg) -> None:
        """See Rule."""
        if leg.kind is not LegKind.PREFILL:
            self._pulled(leg.rank, -_load(leg))

    def _blurred(self, ranks: Sequence[str], step: int) -> str:
        loads = [self._published(rank) for rank in ranks]
        most = min(loads) + step
        near = [rank for rank, load in zip(ranks, loads, strict=True) if load < most]
        return near[int(self._chance.random() * len(near))]


def _load(leg: Leg) -> float:
    return 1 if leg.kind is LegKind.DECODE else leg.request.prompt_tokens
