"""How regularly streams bring their events: the gaps between them, counted by pool.

Between two events of a stream there is one step of the rank's engine, as the client sees it: its time per token.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

BOUNDS_S = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 10.0)


class Gaps:
    """Gaps by the bound they are under, one count more for those above all bounds, and their sum in seconds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, gap_s: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_S, gap_s)] += 1
        self.total_s += gap_s


class PaceTap:
    """Counts the gaps of one stream."""

    def __init__(self, gaps: Gaps) -> None:
        self._gaps = gaps
        self._last_s = 0.0

    def see(self, _: bytes, *, in_chunks: bool) -> None:
        """Something of the stream is passed on now."""
        now_s = time.monotonic()
        if self._last_s:
            self._gaps.add(now_s - self._last_s)
        self._last_s = now_s


class Paces(Collector):
    """The gaps of all streams, by pool."""

    def __init__(self) -> None:
        self._gaps: defaultdict[str, Gaps] = defaultdict(Gaps)

    def tap(self, pool: str) -> PaceTap:
        """What counts for one more stream."""
        return PaceTap(self._gaps[pool])

    def collect(self) -> Iterator[Metric]:
        """A histogram."""
        family = HistogramMetricFamily(
            "forebay_gateway_inter_token_seconds", "Between two events of a streamed answer.", labels=["pool"]
        )
        for pool, gaps in self._gaps.items():
            totals = list(accumulate(gaps.counts))
            buckets = [(str(bound), float(total)) for bound, total in zip(BOUNDS_S, totals, strict=False)]
            family.add_metric([pool], [*buckets, ("+Inf", float(totals[-1]))], gaps.total_s)
        yield family
