"""Workloads that are drawn, one file each, found by name here; those that are read are in trace.py. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType

from simulator.cluster.request import SimRequest
from simulator.cluster.workloads.bursty import bursty
from simulator.cluster.workloads.hot import hot, hottest
from simulator.cluster.workloads.multi_turn import multi_turn
from simulator.cluster.workloads.poisson import poisson
from simulator.cluster.workloads.shared_prefix import shared_prefix

WORKLOADS: Mapping[str, Callable[[int, Random], list[SimRequest]]] = MappingProxyType(
    {
        "poisson": poisson,
        "bursty": bursty,
        "shared_prefix": shared_prefix,
        "multi_turn": multi_turn,
        "hot": hot,
        "hottest": hottest,
    }
)
"""Each draws so many requests, one a second on average."""
