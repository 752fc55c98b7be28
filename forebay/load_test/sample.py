"""What is known of one request that was sent. Pure."""

from __future__ import annotations

from array import array

import msgspec


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds from the start; `held`: it had to wait for --max-concurrency. `error`: "" if there is none."""

    due_s: float
    sent_s: float
    held: bool
    end_s: float
    error: str
    first_s: float = 0.0
    last_s: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    gaps_s: array[float] = msgspec.field(default_factory=lambda: array("d"))

    @property
    def ttft_s(self) -> float:
        """From sending it to the first text."""
        return self.first_s - self.sent_s

    @property
    def tpot_s(self) -> float | None:
        """Per token after the first; None where there is no second."""
        if self.output_tokens < 2:
            return None
        return (self.last_s - self.first_s) / (self.output_tokens - 1)

    @property
    def e2e_s(self) -> float:
        """From sending it to the end of the answer."""
        return self.end_s - self.sent_s
