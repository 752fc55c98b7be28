"""Counts of values per bucket, as a Prometheus histogram has them. Pure."""

from __future__ import annotations

from bisect import bisect_left


class Histogram:
    """Counts per bucket; `bounds` are upper bounds, the bucket without one comes last."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Add a value that was seen so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times
