"""The names of the peers' rules, and of all that `--policy` of a simulation may be. Pure."""

from __future__ import annotations

from scheduler.policies import POLICIES

PEER_NAMES = (
    "fastdeploy",
    "ascend_external_dp",
    "ascend_pd",
    "ascend_bucket",
    "vllm_dp_old",
    "vllm_dp",
    "po2_1s",
    "po2_30s",
    "smg_cache_aware",
    "smg_events",
    "smg_least_load",
    "llm_d",
    "llm_d_queue",
    "llm_d_chart",
    "llm_d_precise",
    "llm_d_decider",
    "llm_d_decider_2048",
    "dynamo",
    "dynamo_sync",
    "dynamo_aic",
    "dynamo_conditional",
    "lmetric",
    "aibrix_prefix",
    "own_counts",
)
POLICY_NAMES = (*POLICIES, *PEER_NAMES)
