"""What a request may expect of a fleet, after what an idle rank would need for it. Pure."""

from __future__ import annotations

import msgspec

from simulator.cluster.outcome import Outcome
from simulator.timing import Timing

GRACE_S = 1.0
TIMES_IDLE = 2.0


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """TTFT <= scale x (1 s + 2 x the prefill alone), TPOT <= scale x 2 x the token alone, on an idle rank.

    The idle rank has nothing of the prompt in its cache.
    """

    timing: Timing
    max_num_batched_tokens: int
    scale: float = 1.0

    def is_met(self, outcome: Outcome) -> bool:
        """Whether the request got both; a rejected one got neither."""
        if outcome.rejected:
            return False
        ttft_s = GRACE_S + TIMES_IDLE * self.timing.prompt_s(outcome.request.prompt_tokens, self.max_num_batched_tokens)
        tpot_s = TIMES_IDLE * self.timing.step_s(0, 1)
        return outcome.ttft_s <= self.scale * ttft_s and (outcome.tpot_s or 0.0) <= self.scale * tpot_s
