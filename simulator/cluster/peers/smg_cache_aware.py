"""SMG's cache_aware: the rank that was sent the longest beginning of the prompt, while own counts are balanced. Pure.

Source: https://github.com/lightseekorg/smg at 73da68c, model_gateway/src/policies/cache_aware.rs (select_worker,
select_worker_with_text), crates/kv_index/src/string_tree.rs, model_gateway/src/main.rs for the defaults of the command
line (0.3, 64, 1.5), model_gateway/src/routers/http/pd_router.rs for what a rank's load is.

If the own requests of the ranks differ by more than 64 and by more than half, the one with the fewest gets the request.
Else the tree is asked: if more than 0.3 of the prompt is known, the rank that was the first to get that beginning gets
it, and if not, the one with the fewest own requests; of several the one that had the fewest in all. The tree is the
gateway's own, of 67 million characters a rank, which no cache outlives: it never forgets here.

Two favours: a pair's prefill rank counts a request until its prompt is computed (SMG: until its last token, which costs
it nearly half more TTFT on Mooncake's trace at load 0.7), and decode ranks go by the fewest own requests (SMG looks for
prefixes there too if no decode policy is set).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from scheduler.decision import LegKind
from simulator.cluster.peers.counting_rule import CountingRule
from simulator.cluster.peers.rule import Leg
from simulator.cluster.peers.tally import Tally, one
from simulator.cluster.request import BLOCK_TOKENS, SimRequest

CACHE_THRESHOLD = 0.3
BALANCE_ABS_THRESHOLD = 64
BALANCE_REL_THRESHOLD = 1.5


class SmgCounts(CountingRule):
    """What goes by counts: whether they are balanced, and where the fewest requests are."""

    def __init__(self) -> None:
        super().__init__(one)
        self._ever = Tally()

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        counts = [self.under_way.of(rank) for rank in ranks]
        least, most = min(counts), max(counts)
        is_uneven = most - least > BALANCE_ABS_THRESHOLD and most > least * BALANCE_REL_THRESHOLD
        cached = None if is_uneven else self.cached_rank(request, ranks)
        return cached or self.decode_rank(request, ranks)

    @abstractmethod
    def cached_rank(self, request: SimRequest, ranks: Sequence[str]) -> str | None:
        """The rank to go to for its prefixes, if there is one."""

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return min(ranks, key=lambda rank: (self.under_way.of(rank), self._ever.of(rank)))

    def began(self, leg: Leg) -> None:
        """See Rule."""
        super().began(leg)
        self._ever.add(leg.rank, 1)


class SmgCacheAware(SmgCounts):
    """The tree is a dictionary: whose each block is that was ever sent."""

    def __init__(self) -> None:
        super().__init__()
        self._owner_of: dict[int, str] = {}

    def cached_rank(self, request: SimRequest, ranks: Sequence[str]) -> str | None:
        """See SmgCounts."""
        for number, block in reversed(list(enumerate(request.blocks, 1))):
            if block in self._owner_of:
                is_enough = number * BLOCK_TOKENS / request.prompt_tokens > CACHE_THRESHOLD
                return self._owner_of[block] if is_enough else None
        return None

    def began(self, leg: Leg) -> None:
        """See Rule."""
        super().began(leg)
        if leg.kind is not LegKind.DECODE:
            for block in leg.request.blocks:
                self._owner_of.setdefault(block, leg.rank)
