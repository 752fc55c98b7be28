"""What the NIXL connector of an engine has reported so far: the numbers behind its series in `/metrics`. Pure."""

from __future__ import annotations

from typing import Final, Literal

from simulator.histogram import Histogram

_XFER_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 5.0)
_POST_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 5.0)
_BYTES: Final = tuple(2048.0 * 4**power for power in range(12))
_DESCRIPTORS: Final = (
    10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 200.0, 400.0, 1000.0, 2000.0, 4000.0, 10000.0, 20000.0, 50000.0,
)  # fmt: skip

_BYTES_PER_TOKEN: Final = 1024
_DESCRIPTORS_PER_PULL: Final = 2
_MOST_POST_S: Final = 0.0005
"""As captured: a tiny model's KV of a token, and adjacent blocks as one piece for keys and one for values."""


class TransferStats:
    """Pulls on the decode side; leases and late notifications on the prefill side."""

    def __init__(self) -> None:
        self.xfer_time_s = Histogram(_XFER_S)
        self.post_time_s = Histogram(_POST_S)
        self.bytes = Histogram(_BYTES)
        self.descriptors = Histogram(_DESCRIPTORS)
        self.failed_transfers = 0
        self.failed_notifications = 0
        self.kv_expired = 0
        self.notifications_after_expiry = 0

    def pulled(self, tokens: int, took_s: float) -> None:
        """The KV of so many tokens came."""
        self.xfer_time_s.observe(took_s)
        self.post_time_s.observe(min(took_s, _MOST_POST_S))
        self.bytes.observe(tokens * _BYTES_PER_TOKEN)
        self.descriptors.observe(_DESCRIPTORS_PER_PULL)

    def failed(self, *, known: bool, policy: Literal["fail", "recompute"]) -> None:
        """A pull came to nothing. With the policy `fail` vLLM counts one from an engine it had met twice."""
        twice = known and policy == "fail"
        self.failed_transfers += 1 + twice
        self.failed_notifications += twice
