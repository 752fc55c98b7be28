"""vllm-ascend's proxy for external data parallelism: the least of the bytes it has sent itself. Pure.

Source: https://github.com/vllm-project/vllm-ascend before 44fc51f, which removed it,
examples/external_online_dp/dp_load_balance_proxy_server.py (ProxyState.select_server, calculate_request_score).

A request weighs as many as its body has bytes plus half of max_tokens, which is 16 where the client gives none; it
weighs on its rank to the end of the stream. The lightest rank gets the next, the first of several. The proxy knows
whole requests only; where prefill and decode ranks are apart, there is one proxy in front of each pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from simulator.cluster.peers.counting_rule import CountingRule
from simulator.cluster.peers.rule import Leg
from simulator.cluster.request import SimRequest

BYTES_PER_TOKEN = 4
MAX_TOKENS = 16
"""Of a request that gives none."""


class AscendExternalDp(CountingRule):
    """Counts bytes."""

    decodes_late: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(_score)

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return min(ranks, key=self.under_way.of)

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return min(ranks, key=self.under_way.of)


def _score(leg: Leg) -> float:
    return leg.request.prompt_tokens * BYTES_PER_TOKEN + 0.5 * MAX_TOKENS
