"""What became of one request. Pure."""

from __future__ import annotations

import msgspec

from simulator.cluster.request import SimRequest


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request went and when it got there; all times in seconds of the same virtual clock as its arrival.

    One rank alone is both `prefill_rank` and `decode_rank`. `cached_tokens` of the prompt were not computed, and
    `believed_cached_tokens` not expected to be. Of a rejected request the ranks are empty, and its times mean nothing.
    """

    request: SimRequest
    gateway: int
    prefill_rank: str
    decode_rank: str
    placed_s: float
    first_token_s: float
    finished_s: float
    cached_tokens: int
    believed_cached_tokens: int = 0
    rejected: bool = False

    @property
    def ttft_s(self) -> float:
        """Time to first token, from the arrival."""
        return self.first_token_s - self.request.arrival_s

    @property
    def e2e_s(self) -> float:
        """Time to the last token, from the arrival."""
        return self.finished_s - self.request.arrival_s

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first; None where there is no other."""
        others = self.request.output_tokens - 1
        return (self.finished_s - self.first_token_s) / others if others > 0 else None
