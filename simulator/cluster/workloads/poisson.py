"""Requests that come independently of each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from random import Random

from simulator.cluster.request import SimRequest
from simulator.cluster.workloads.strangers import strangers


def poisson(requests: int, chance: Random) -> list[SimRequest]:
    """So many, one a second on average, of prompts that share nothing."""
    return strangers(poisson_arrivals_s(requests, chance), chance)


def poisson_arrivals_s(requests: int, chance: Random) -> Iterator[float]:
    """So many arrivals, one a second on average, with exponential gaps."""
    return accumulate(chance.expovariate(1.0) for _ in range(requests))
