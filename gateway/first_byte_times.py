"""How long answers take to their first byte, learned by the size of their requests. Pure.

Each class of sizes has a histogram whose bounds grow by a fifth. When it has counted `MANY`, all counts are halved:
what was long ago weighs less and less.
"""

from __future__ import annotations

import math
from collections import defaultdict

FIRST_S = 0.001
GROWTH = 1.2
BUCKETS = 80
"""Up to half an hour."""

ENOUGH = 50
"""Of fewer the slowest twentieth is two requests or less."""

MANY = 2_000
SHARE = 0.95

SizeClass = tuple[int, int]


def class_of(prompt_tokens: int, output_tokens: int, *, streamed: bool) -> SizeClass:
    """Requests of about a size. A stream shows its first token; any other answer comes when its last one is there."""
    return prompt_tokens.bit_length(), 0 if streamed else 1 + output_tokens.bit_length()


class Times:
    """The times of one class, in seconds."""

    def __init__(self) -> None:
        self._counts = [0.0] * BUCKETS
        self._total = 0.0

    def observe(self, seconds: float) -> None:
        """An answer took so long."""
        bucket = math.ceil(math.log(max(seconds, FIRST_S) / FIRST_S, GROWTH))
        self._counts[min(bucket, BUCKETS - 1)] += 1
        self._total += 1
        if self._total >= MANY:
            self._counts = [count / 2 for count in self._counts]
            self._total /= 2

    @property
    def p95_s(self) -> float | None:
        """What 95 % of answers have come within; None while too few have come."""
        if self._total < ENOUGH:
            return None
        counted = 0.0
        for bucket, count in enumerate(self._counts):
            counted += count
            if counted >= SHARE * self._total:
                return FIRST_S * GROWTH**bucket
        return None


class FirstByteTimes:
    """Those of one pool, by class."""

    def __init__(self) -> None:
        self._times: defaultdict[SizeClass, Times] = defaultdict(Times)

    def observe(self, size: SizeClass, seconds: float) -> None:
        """An answer to a request of this class took so long."""
        self._times[size].observe(seconds)

    def p95_s(self, size: SizeClass) -> float | None:
        """What 95 % of answers of this class have come within; None while too few are known."""
        return self._times[size].p95_s if size in self._times else None
