"""Names, help texts and sources of the families that vLLM 0.32 shows with a NIXL connector."""

from __future__ import annotations

from typing import Final

import msgspec

from simulator.metric_families import Family, HistogramFamily

NIXL_HISTOGRAMS: Final[tuple[HistogramFamily, ...]] = (
    (
        "vllm:nixl_xfer_time_seconds",
        "Histogram of transfer duration for NIXL KV Cache transfers.",
        lambda stats: stats.transfers.xfer_time_s,
    ),
    (
        "vllm:nixl_post_time_seconds",
        "Histogram of transfer post time for NIXL KV Cache transfers.",
        lambda stats: stats.transfers.post_time_s,
    ),
    (
        "vllm:nixl_bytes_transferred",
        "Histogram of bytes transferred per NIXL KV Cache transfers.",
        lambda stats: stats.transfers.bytes,
    ),
    (
        "vllm:nixl_num_descriptors",
        "Histogram of number of descriptors per NIXL  KV Cache transfers.",
        lambda stats: stats.transfers.descriptors,
    ),
)

NIXL_COUNTERS: Final[tuple[Family, ...]] = (
    (
        "vllm:nixl_num_failed_transfers",
        (
            "Number of failed NIXL KV Cache transfers, including handshake and notification failures. NOTE: KV "
            "expiry is tracked separately in vllm:nixl_num_kv_expired_reqs."
        ),
        None,
        lambda stats: {"": stats.transfers.failed_transfers},
    ),
    (
        "vllm:nixl_num_failed_notifications",
        (
            "Number of failed NIXL KV Cache notifications. Retained for compatibility; these failures are also "
            "included in vllm:nixl_num_failed_transfers."
        ),
        None,
        lambda stats: {"": stats.transfers.failed_notifications},
    ),
    (
        "vllm:nixl_num_kv_expired_reqs",
        "Number of requests that had their KV expire. NOTE: This metric is tracked on the P instance.",
        None,
        lambda stats: {"": stats.transfers.kv_expired},
    ),
    (
        "vllm:nixl_num_notifications_after_expiry",
        (
            "Number of completion notifications for requests that were no longer tracked, usually because their "
            "KV lease expired. The KV blocks may have been reused before the transfer finished. Counted per "
            "notification (one per remote rank), not per request."
        ),
        None,
        lambda stats: {"": stats.transfers.notifications_after_expiry},
    ),
)

KV_FETCH_STAGES: Final[Family] = (
    "vllm:num_requests_kv_fetch_by_stage",
    (
        "Number of waiting requests by async KV load stage. Stage labels: 'waiting_to_start' = needs an async"
        " KV load that has not started; 'in_progress' = load started and not yet reported finished; "
        "'completed_waiting' = load finished, request not running yet."
    ),
    "stage",
    lambda stats: msgspec.structs.asdict(stats.fetching),
)
"""Only on ranks that pull KV."""
