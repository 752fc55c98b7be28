"""What `/metrics` shows of requests that were tried more than once."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class RetryMetrics:
    """The counters of one gateway."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.retries = Counter(
            "forebay_gateway_retries",
            "Requests that were placed anew, by what went wrong before.",
            ["pool", "reason"],
            registry=registry,
        )
        self.refused = Counter(
            "forebay_gateway_retries_refused",
            "Requests that would have been, had there not been too many lately.",
            ["pool", "reason"],
            registry=registry,
        )
