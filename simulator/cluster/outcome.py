"""What became of one simulated request. Pure."""

from __future__ import annotations

import msgspec

from simulator.cluster.request import SimRequest


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request went, and its times in virtual seconds as its client sees them.

    `prefill_rank` and `decode_rank` are the same where one rank did both. A `rejected` one has no times and no ranks.
    """

    request: SimRequest
    gateway: int
    prefill_rank: str
    decode_rank: str
    placed_s: float
    first_token_s: float
    finished_s: float
    cached_tokens: int
    rejected: bool = False
