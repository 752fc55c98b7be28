"""Requests that come in bursts: gaps with three times the deviation of Poisson's. Pure.

Gamma-distributed gaps are what vLLM's `--burstiness` draws (vllm/benchmarks/serve.py); its value is SHAPE here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from random import Random

from simulator.cluster.request import SimRequest
from simulator.cluster.workloads.strangers import strangers

SHAPE = 1 / 9
"""Of the gamma distribution: the gaps' deviation is sqrt(1 / SHAPE) times their mean."""


def bursty(requests: int, chance: Random) -> list[SimRequest]:
    """So many, one a second on average, of prompts that share nothing."""
    return strangers(_arrivals_s(requests, chance), chance)


def _arrivals_s(requests: int, chance: Random) -> Iterator[float]:
    return accumulate(chance.gammavariate(SHAPE, 1 / SHAPE) for _ in range(requests))
