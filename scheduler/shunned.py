"""Ranks that took no connection: for a while they are placed on only where there is no other."""

from __future__ import annotations

from collections.abc import Callable

SHUN_S = 2.0
"""How long a rank that took no connection is left out: its agent says sooner that it is down, or died with it."""


class ShunnedRanks:
    """Their names, until it is over; `clock` answers monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until_s: dict[str, float] = {}

    def add(self, rank: str) -> None:
        """The rank took no connection just now."""
        self._until_s[rank] = self._clock() + SHUN_S

    def now(self) -> frozenset[str]:
        """Those that are to be avoided."""
        now_s = self._clock()
        self._until_s = {rank: until_s for rank, until_s in self._until_s.items() if now_s < until_s}
        return frozenset(self._until_s)
