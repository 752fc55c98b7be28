"""Placement latency from the gateways' /metrics: what a histogram has gained between two looks. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

_BUCKET = re.compile(r'^forebay_gateway_place_seconds_bucket\{[^}]*le="([^"]+)"[^}]*\} (\S+)$', re.MULTILINE)
_RETRIES = re.compile(r"^forebay_gateway_(?:retries|hedges)_total(?:\{[^}]*\})? (\S+)$", re.MULTILINE)

Buckets = Mapping[float, float]
"""How many placements took at most so many seconds."""


def buckets(page: str) -> Buckets:
    """A gateway's histogram of placements."""
    found: defaultdict[float, float] = defaultdict(float)
    for bound, count in _BUCKET.findall(page):
        found[float(bound)] += float(count)
    return found


def gained(before: Buckets, after: Buckets) -> Buckets:
    """What was counted between; a gateway that was started anew counts from nothing."""
    return {bound: count - before.get(bound, 0.0) for bound, count in after.items()}


def total(some: Iterable[Buckets]) -> Buckets:
    """All of them as one."""
    added: defaultdict[float, float] = defaultdict(float)
    for each in some:
        for bound, count in each.items():
            added[bound] += count
    return added


def quantile_ms(found: Buckets, share: float) -> float | None:
    """By straight lines within buckets, as Prometheus does it; None of nothing."""
    bounds = sorted(found)
    if not bounds or not found[bounds[-1]]:
        return None
    below_s, below = 0.0, 0.0
    wanted = share * found[bounds[-1]]
    for bound in bounds:
        if found[bound] >= wanted:
            if bound == float("inf"):
                return below_s * 1000
            return 1000 * (below_s + (bound - below_s) * (wanted - below) / (found[bound] - below))
        below_s, below = bound, found[bound]
    return None


def retries(page: str) -> int:
    """How many requests a gateway has tried again since it started."""
    return int(sum(map(float, _RETRIES.findall(page))))
