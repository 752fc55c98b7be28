"""Names, help texts and sources of the `vllm:` families, as vLLM 0.32 shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.engine_stats import EngineStats
from simulator.histogram import Histogram

Family = tuple[str, str, str | None, Callable[[EngineStats], dict[str, float]]]
"""Name, help, the label beside engine and model_name if any, and the number per value of that label."""

HistogramFamily = tuple[str, str, Callable[[EngineStats], Histogram]]
"""Name, help and the histogram."""

_FINISH_REASONS: Final = ("stop", "length", "abort", "error", "repetition")
_TIERS: Final = ("device", "host", "p2p", "disk", "external_unspecified")

GAUGES: Final[tuple[Family, ...]] = (
    (
        "vllm:num_requests_running",
        "Number of requests in model execution batches.",
        None,
        lambda stats: {"": stats.running},
    ),
    (
        "vllm:num_requests_waiting",
        "Number of requests waiting to be processed.",
        None,
        lambda stats: {"": stats.waiting},
    ),
    (
        "vllm:num_requests_waiting_by_reason",
        (
            "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; "
            "'deferred' = deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of "
            "all reasons equals vllm:num_requests_waiting."
        ),
        "reason",
        lambda stats: {"capacity": stats.waiting - stats.fetching.deferred, "deferred": stats.fetching.deferred},
    ),
    (
        "vllm:kv_cache_usage_perc",
        "KV-cache usage. 1 means 100 percent usage.",
        None,
        lambda stats: {"": stats.kv_usage},
    ),
)

SLEEP_STATE: Final = (
    "vllm:engine_sleep_state",
    (
        "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; "
        "weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2."
    ),
)

COUNTERS: Final[tuple[Family, ...]] = (
    (
        "vllm:prefix_cache_queries",
        "Prefix cache queries, in terms of number of queried tokens.",
        None,
        lambda stats: {"": stats.prefix_queries_tokens},
    ),
    (
        "vllm:prefix_cache_hits",
        "Prefix cache hits, in terms of number of cached tokens.",
        None,
        lambda stats: {"": stats.prefix_hits_tokens},
    ),
    (
        "vllm:num_preemptions",
        "Cumulative number of preemption from the engine.",
        None,
        lambda stats: {"": stats.preemptions},
    ),
    (
        "vllm:prompt_tokens",
        "Number of prefill tokens processed.",
        None,
        lambda stats: {"": stats.prompt_tokens},
    ),
    (
        "vllm:prompt_tokens_by_source",
        "Number of prompt tokens by source.",
        "source",
        lambda stats: {
            "local_compute": stats.prompt_tokens - stats.prompt_tokens_cached - stats.prompt_tokens_external,
            "local_cache_hit": stats.prompt_tokens_cached,
            "external_kv_transfer": stats.prompt_tokens_external,
        },
    ),
    (
        "vllm:prompt_tokens_cached",
        "Number of cached prompt tokens (local + external).",
        None,
        lambda stats: {"": stats.prompt_tokens_cached + stats.prompt_tokens_external},
    ),
    (
        "vllm:prompt_tokens_cached_by_source",
        (
            "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), host (offloaded to "
            "DRAM), disk, p2p (transferred from another vLLM instance) or external_unspecified. Counted at "
            "admission; sums to vllm:prefix_cache_hits + vllm:external_prefix_cache_hits."
        ),
        "source",
        lambda stats: {
            tier: {"device": stats.prefix_hits_tokens, "p2p": stats.external_hits_tokens}.get(tier, 0)
            for tier in _TIERS
        },
    ),
    (
        "vllm:generation_tokens",
        "Number of generation tokens processed.",
        None,
        lambda stats: {"": stats.generation_tokens},
    ),
    (
        "vllm:request_success",
        "Count of successfully processed requests.",
        "finished_reason",
        lambda stats: {reason: stats.finished[reason] for reason in _FINISH_REASONS},
    ),
    (
        "vllm:external_prefix_cache_queries",
        (
            "External prefix cache queries from KV connector cross-instance cache sharing, in terms of number of "
            "queried tokens."
        ),
        None,
        lambda stats: {"": stats.external_queries_tokens},
    ),
    (
        "vllm:external_prefix_cache_hits",
        (
            "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of "
            "cached tokens."
        ),
        None,
        lambda stats: {"": stats.external_hits_tokens},
    ),
)

ALWAYS_ZERO: Final[tuple[Family, ...]] = tuple(
    (name, text, None, lambda _: {"": 0})
    for name, text in (
        ("vllm:mm_cache_queries", "Multi-modal cache queries, in terms of number of queried items."),
        ("vllm:mm_cache_hits", "Multi-modal cache hits, in terms of number of cached items."),
    )
)

REJECTIONS: Final = (
    "vllm:admission_rejections",
    "Number of admission attempts rejected by a queue limit, by reason.",
)

HISTOGRAMS: Final[tuple[HistogramFamily, ...]] = (
    (
        "vllm:request_prompt_tokens",
        "Number of prefill tokens processed.",
        lambda stats: stats.request_prompt_tokens,
    ),
    (
        "vllm:request_generation_tokens",
        "Number of generation tokens processed.",
        lambda stats: stats.request_generation_tokens,
    ),
    (
        "vllm:iteration_tokens_total",
        "Histogram of number of tokens per engine_step.",
        lambda stats: stats.iteration_tokens,
    ),
    (
        "vllm:request_max_num_generation_tokens",
        "Histogram of maximum number of requested generation tokens.",
        lambda stats: stats.request_max_num_generation_tokens,
    ),
    ("vllm:request_params_n", "Histogram of the n request parameter.", lambda stats: stats.request_params_n),
    (
        "vllm:request_params_max_tokens",
        "Histogram of the max_tokens request parameter.",
        lambda stats: stats.request_params_max_tokens,
    ),
    (
        "vllm:time_to_first_token_seconds",
        "Histogram of time to first token in seconds.",
        lambda stats: stats.time_to_first_token_s,
    ),
    (
        "vllm:inter_token_latency_seconds",
        "Histogram of inter-token latency in seconds.",
        lambda stats: stats.inter_token_latency_s,
    ),
    (
        "vllm:request_time_per_output_token_seconds",
        "Histogram of time_per_output_token_seconds per request.",
        lambda stats: stats.request_time_per_output_token_s,
    ),
    (
        "vllm:e2e_request_latency_seconds",
        "Histogram of e2e request latency in seconds.",
        lambda stats: stats.e2e_request_latency_s,
    ),
    (
        "vllm:request_queue_time_seconds",
        "Histogram of time spent in WAITING phase for request.",
        lambda stats: stats.request_queue_time_s,
    ),
    (
        "vllm:request_inference_time_seconds",
        "Histogram of time spent in RUNNING phase for request.",
        lambda stats: stats.request_inference_time_s,
    ),
    (
        "vllm:request_prefill_time_seconds",
        "Histogram of time spent in PREFILL phase for request.",
        lambda stats: stats.request_prefill_time_s,
    ),
    (
        "vllm:request_decode_time_seconds",
        "Histogram of time spent in DECODE phase for request.",
        lambda stats: stats.request_decode_time_s,
    ),
    (
        "vllm:request_num_preemptions",
        "Histogram of the number of times a request was preempted.",
        lambda stats: stats.request_num_preemptions,
    ),
    (
        "vllm:request_prefill_kv_computed_tokens",
        "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
        lambda stats: stats.request_prefill_kv_computed_tokens,
    ),
)
