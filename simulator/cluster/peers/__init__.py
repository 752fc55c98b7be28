"""Other projects' placement rules, by name, to be compared with Forebay's policies on the same simulated fleet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from simulator.cluster.peers import factories, llm_d, llm_d_decider
from simulator.cluster.peers.peer_fleet import PeerFleet
from simulator.cluster.peers.rule import Rule

PEERS: Mapping[str, Callable[[PeerFleet], Sequence[Rule]]] = MappingProxyType(
    {
        "fastdeploy": factories.fastdeploy,
        "ascend_external_dp": factories.ascend_external_dp,
        "ascend_pd": factories.ascend_pd,
        "ascend_bucket": factories.ascend_bucket,
        "vllm_dp_old": factories.vllm_dp_old,
        "vllm_dp": factories.vllm_dp,
        "po2_1s": partial(factories.power_of_two, 1.0),
        "po2_30s": partial(factories.power_of_two, 30.0),
        "smg_cache_aware": factories.smg_cache_aware,
        "smg_events": factories.smg_events,
        "smg_least_load": factories.smg_least_load,
        "llm_d": partial(factories.llm_d, llm_d.LOAD_AWARE),
        "llm_d_queue": partial(factories.llm_d, llm_d.QUEUE),
        "llm_d_chart": partial(factories.llm_d, llm_d.CHART),
        "llm_d_precise": partial(factories.llm_d_precise, llm_d.PRECISE),
        "llm_d_decider": partial(factories.llm_d_decider, llm_d_decider.CONFIGURED_TOKENS),
        "llm_d_decider_2048": partial(factories.llm_d_decider, llm_d_decider.GENEROUS_TOKENS),
        "dynamo": factories.dynamo,
        "dynamo_sync": factories.dynamo_sync,
        "dynamo_aic": factories.dynamo_aic,
        "dynamo_conditional": factories.dynamo_conditional,
        "lmetric": factories.lmetric,
        "aibrix_prefix": factories.aibrix,
        "own_counts": factories.own_counts,
    }
)
"""Rules for all gateways of a fleet."""
