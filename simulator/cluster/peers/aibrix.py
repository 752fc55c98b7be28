"""AIBrix's prefix-cache routing: the best match that is not too busy. Pure.

Source: https://github.com/vllm-project/aibrix at e3e10f9, pkg/plugins/gateway/algorithms/prefix_cache.go
(routeOriginal, getTargetPodListOnLoadImbalance, getTargetPodFromMatchedPods), and for prefill and decode ranks
pd_disaggregation.go and pd_readme.md; pkg/cache/cache_gateway_snapshot.go and cache_metrics.go for the counts.

Mixed ranks: if their counts of requests differ by more than 8, only the least busy are looked at. Of those that were
sent a beginning of the prompt, the one with the highest per cent, then with the fewest requests, is taken if it has no
more than the mean of all plus a standard deviation; else the next; if there is none, any with the fewest requests.
Prefill ranks: if their counts differ by more than 16, any of the least busy; else of those with at the most mean plus
deviation the least of (100 - per cent) x 0.1 + requests / most requests. Decode ranks: if their counts differ by 16 or
more, the least busy; if their paces differ by more than 2,048 tokens a second, the slowest; else the least of (requests
/ most + 1 - pace / fastest) / (free KV / most free). The check of drain rates between these is left out.

Counts of requests that are to be answered are the gateway's own plus what the others had written to Redis, which each
does every 100 ms (that its own requests then overwrite the sum is a fault, and not played here); those of prefills are
the gateway's own only, and so is the table of prefixes. That is taken as its own benchmarks set it (blocks of 512
bytes, not 4): larger than all that is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from random import Random

from scheduler.decision import LegKind
from simulator.cluster.peers.least import least
from simulator.cluster.peers.own_prefixes import OwnPrefixes
from simulator.cluster.peers.polled import Polled
from simulator.cluster.peers.rule import Leg, Rule
from simulator.cluster.peers.tally import Tally
from simulator.cluster.request import SimRequest

SNAPSHOT_S = 0.1
METRICS_S = 0.05
UNEVEN_MIXED, UNEVEN_PREFILL, UNEVEN_DECODE = 8, 16, 16
UNEVEN_TOKENS_PER_S = 2_048.0
DEVIATIONS = 1
WEIGHT_OF_PER_CENT = 0.1
LEAST_FREE_KV = 0.001


class Aibrix(Rule):
    """`others` is what the other gateways have written of a rank; `write` adds to what this one writes."""

    def __init__(
        self,
        polled: Polled,
        chance: Random,
        *,
        mixed: Sequence[str],
        others: Callable[[str], float],
        write: Callable[[str, float], None],
    ) -> None:
        self._polled, self._chance, self._mixed = polled, chance, frozenset(mixed)
        self._others, self._write = others, write
        self._own, self._prefills, self._prefixes = Tally(), Tally(), OwnPrefixes()

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule. Where both kinds are, the prefill ranks' rule is for all."""
        held = self._prefixes.counts(request.blocks)
        per_cent = {rank: count * 100 // len(request.blocks) for rank, count in held.items()}
        if self._mixed.issuperset(ranks):
            return self._mixed_rank(ranks, per_cent)
        counts = {rank: self._prefills.of(rank) + (self._own.of(rank) if rank in self._mixed else 0) for rank in ranks}
        if _differ(counts) > UNEVEN_PREFILL:
            return least(ranks, counts.__getitem__, self._chance)
        most = max(1, *counts.values())
        return least(
            _not_too_busy(ranks, counts),
            lambda rank: (100 - per_cent.get(rank, 0)) * WEIGHT_OF_PER_CENT + counts[rank] / most,
            self._chance,
        )

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        counts = self._answering(ranks)
        if _differ(counts) >= UNEVEN_DECODE:
            return least(ranks, counts.__getitem__, self._chance)
        samples = {rank: self._polled.of(rank) for rank in ranks}
        paces = {rank: sample.tokens_per_s for rank, sample in samples.items()}
        if _differ(paces) > UNEVEN_TOKENS_PER_S:
            return min(ranks, key=paces.__getitem__)
        free = {rank: max(LEAST_FREE_KV, 1 - sample.kv_usage) for rank, sample in samples.items()}
        most, fastest, most_free = max(1, *counts.values()), max(1, *paces.values()), max(free.values())
        return least(
            ranks,
            lambda rank: (counts[rank] / most + 1 - paces[rank] / fastest) / (free[rank] / most_free),
            self._chance,
        )

    def began(self, leg: Leg) -> None:
        """See Rule."""
        if leg.kind is LegKind.PREFILL:
            self._prefills.add(leg.rank, 1)
        else:
            self._count(leg.rank, 1)
        if leg.kind is not LegKind.DECODE:
            self._prefixes.sent(leg.rank, leg.request.blocks)

    def prefilled(self, leg: Leg) -> None:
        """See Rule."""
        if leg.kind is LegKind.PREFILL:
            self._prefills.add(leg.rank, -1)

    def ended(self, leg: Leg) -> None:
        """See Rule."""
        if leg.kind is not LegKind.PREFILL:
            self._count(leg.rank, -1)

    def _mixed_rank(self, ranks: Sequence[str], per_cent: Mapping[str, int]) -> str:
        counts = self._answering(ranks)
        fewest = min(counts.values())
        seen = [rank for rank in ranks if counts[rank] == fewest] if _differ(counts) > UNEVEN_MIXED else ranks
        matched = _not_too_busy([rank for rank in seen if rank in per_cent], counts)
        if matched:
            return least(
                matched, lambda rank: -per_cent[rank] + counts[rank] / (1 + max(counts.values())), self._chance
            )
        return least(ranks, counts.__getitem__, self._chance)

    def _answering(self, ranks: Sequence[str]) -> dict[str, float]:
        return {rank: self._own.of(rank) + self._others(rank) for rank in ranks}

    def _count(self, rank: str, amount: int) -> None:
        self._own.add(rank, amount)
        self._write(rank, amount)


def _differ(counts: Mapping[str, float]) -> float:
    return max(counts.values()) - min(counts.values())


def _not_too_busy(ranks: Sequence[str], counts: Mapping[str, float]) -> list[str]:
    mean = sum(counts.values()) / len(counts)
    most = mean + DEVIATIONS * sqrt(sum((count - mean) ** 2 for count in counts.values()) / len(counts))
    return [rank for rank in ranks if counts[rank] <= most]
