"""When a worker that has ended is started again. Pure."""

from __future__ import annotations

import msgspec

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0
SHORT_LIFE_S = 10.0
"""A worker that lived longer begins with a clean slate."""

MAX_FAILED_STARTS = 3
"""After so many in a row that never became ready, what is wrong will not pass by itself."""


class Restarts(msgspec.Struct, frozen=True):
    """What the last lives of one worker were like: how many in a row were short, and how many never began."""

    short_lives: int = 0
    failed_starts: int = 0

    def after(self, lived_s: float, *, was_ready: bool) -> Restarts:
        """The same after one more life."""
        return Restarts(
            short_lives=self.short_lives + 1 if lived_s < SHORT_LIFE_S else 0,
            failed_starts=0 if was_ready else self.failed_starts + 1,
        )

    @property
    def delay_s(self) -> float:
        """How long to wait before the next start: nothing at first, then twice as long with every short life."""
        if self.short_lives <= 1 and not self.failed_starts:
            return 0.0
        return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(self.short_lives, 10)))

    @property
    def is_hopeless(self) -> bool:
        """Whether there is no use in another start."""
        return self.failed_starts >= MAX_FAILED_STARTS
