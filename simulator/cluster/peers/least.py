"""The cheapest of some ranks, where several cost the same. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random


def least(ranks: Sequence[str], cost: Callable[[str], float], chance: Random) -> str:
    """The rank of the least cost, any of those that have it."""
    costs = [cost(rank) for rank in ranks]
    lowest = min(costs)
    best = [rank for rank, costing in zip(ranks, costs, strict=True) if costing == lowest]
    return best[0] if len(best) == 1 else best[int(chance.random() * len(best))]
