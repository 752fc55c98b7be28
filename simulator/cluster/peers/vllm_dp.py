"""How vLLM's API servers balance over data-parallel ranks, as of 0.32 and before. Pure.

Source: https://github.com/vllm-project/vllm at 00080ee, vllm/v1/engine/core_client.py
(DPLBAsyncMPClient.get_core_engine_for_request) and vllm/v1/engine/coordinator.py, which tells all API servers every
100 ms how many requests each engine has waiting and running. Here each gateway is an API server. Where prefill and
decode ranks are apart, each pool is a vLLM of its own.

Before: the least of 4 x waiting + running. 0.32: the least of max(servers x own unfinished requests, waiting + running)
plus 6 x waiting x max(0, KV use - 0.5). Both add the number of servers to the chosen rank's waiting ones until the next
message, and begin to look at a rank that depends on the server's number; 0.32 begins one further each time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from simulator.cluster.peers.counting_rule import CountingRule
from simulator.cluster.peers.polled import Polled
from simulator.cluster.peers.tally import Tally, one
from simulator.cluster.request import SimRequest

MESSAGE_S = 0.1
KV_PENALTY = 6.0
KV_PENALTY_ABOVE = 0.5


class _Balancer(CountingRule):
    """Server `number` of `servers`; `polled` is what the coordinator said last."""

    decodes_late: ClassVar[bool] = True
    rotates: ClassVar[bool]

    def __init__(self, polled: Polled, *, number: int, servers: int) -> None:
        super().__init__(one)
        self._polled, self._number, self._servers = polled, number, servers
        self._sent, self._polls = Tally(), polled.polls
        self._turns = {"prefill": 0, "decode": 0}

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return self._rank(ranks, "prefill")

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return self._rank(ranks, "decode")

    def waiting(self, rank: str) -> float:
        """As the last message says, and what was sent since."""
        return self._polled.of(rank).waiting + self._sent.of(rank)

    @abstractmethod
    def score(self, rank: str) -> float:
        """What is least on the rank to take."""

    def _rank(self, ranks: Sequence[str], pool: str) -> str:
        if self._polled.polls != self._polls:
            self._polls = self._polled.polls
            self._sent.clear()
        start = (len(ranks) * self._number // self._servers + self._turns[pool]) % len(ranks)
        rank = min((*ranks[start:], *ranks[:start]), key=self.score)
        self._sent.add(rank, self._servers)
        self._turns[pool] += self.rotates
        return rank


class VllmDpOld(_Balancer):
    """Before 0.32."""

    rotates = False

    def score(self, rank: str) -> float:
        """See _Balancer."""
        return 4 * self.waiting(rank) + self._polled.of(rank).running


class VllmDp(_Balancer):
    """0.32."""

    rotates = True

    def score(self, rank: str) -> float:
        """See _Balancer."""
        sample, waiting = self._polled.of(rank), self.waiting(rank)
        here = max(self._servers * self.under_way.of(rank), waiting + sample.running)
        return here + waiting * KV_PENALTY * max(0.0, sample.kv_usage - KV_PENALTY_ABOVE)
