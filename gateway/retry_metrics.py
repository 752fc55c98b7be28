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
        hedged, won = "Requests placed a second time, their first byte being late.", "Those that this has answered."
        self.hedges = Counter("forebay_gateway_hedges", hedged, ["pool"], registry=registry)
        self.hedges_won = Counter("forebay_gateway_hedges_won", won, ["pool"], registry=registry)
        self.refused = Counter(
            "forebay_gateway_retries_refused",
            "Requests that would have been, had there not been too many lately.",
            ["pool", "reason"],
            registry=registry,
        )
