"""vllm-ascend's dynamic buckets: short prompts to one half of the ranks, long ones to the other. Pure.

Source: https://github.com/vllm-project/vllm-ascend at 182b75e, examples/dynamic_bucket_load_balancer/README.md,
dynamic_bucket_load_balancer.py (DynamicBucketLoadBalancer) and hybrid_proxy_server.py, with --enable-dynamic-bucket.

The ranks are cut into two groups in their order: the first for prompts below 32,768 tokens, the second for those up to
131,072. Where the other group has less under way, a request moves there if (1 - its load / the own group's load) x
exp(-0.1 x distance) is above 0.12; the distance is that of the prompt's length from the other group's lengths, in
halves of their range. In the group the rank with the fewest prompt tokens under way gets it. All counts are the
proxy's own, to the end of the request. Like the other proxies of its kind it stands in front of one pool, so that
there are two where prefill and decode ranks are apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import ClassVar

from simulator.cluster.peers.counting_rule import CountingRule
from simulator.cluster.peers.tally import prompt_tokens
from simulator.cluster.request import SimRequest

SHORT_BELOW_TOKENS = 32_768
MOST_TOKENS = 131_072
AFFINITY = 0.1
MOVES_ABOVE = 0.12
_RANGES = ((0, SHORT_BELOW_TOKENS), (SHORT_BELOW_TOKENS, MOST_TOKENS))


class AscendBucket(CountingRule):
    """Counts prompt tokens. A single rank is in both groups."""

    decodes_late: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(prompt_tokens)

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return self._rank(request.prompt_tokens, ranks)

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return self._rank(request.prompt_tokens, ranks)

    def _rank(self, tokens: int, ranks: Sequence[str]) -> str:
        if len(ranks) < len(_RANGES):
            return ranks[0]
        half = (len(ranks) + 1) // 2
        groups = (ranks[:half], ranks[half:])
        own = 0 if tokens < SHORT_BELOW_TOKENS else 1
        loads = [sum(map(self.under_way.of, group)) for group in groups]
        group = groups[1 - own] if moves(tokens, 1 - own, loads[own], loads[1 - own]) else groups[own]
        return min(group, key=self.under_way.of)


def moves(tokens: int, other: int, own_load: float, other_load: float) -> bool:
    """Whether a prompt goes to the other group, of that number."""
    if other_load >= own_load:
        return False
    least, most = _RANGES[other]
    half = (most - least) / 2
    distance = (abs(tokens - (least + most) / 2) - half) / half
    affinity = min(1.0, exp(-AFFINITY * distance))
    return (1 - other_load / own_load) * affinity > MOVES_ABOVE
