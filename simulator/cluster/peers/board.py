"""Numbers that somebody publishes at a period and others read, in virtual time."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from math import ceil

from simulator.cluster.clock import EventQueue


class Board:
    """Sums by key. What changes is on the board from the next tick of `period_s` on, at the least `late_s` later."""

    def __init__(self, queue: EventQueue, *, period_s: float, late_s: float) -> None:
        self._queue, self._period_s, self._late_s = queue, period_s, late_s
        self._sums: defaultdict[str, float] = defaultdict(float)

    def change(self, key: str, amount: float) -> None:
        """So much more, or with a negative amount less."""
        tick = ceil((self._queue.now_s + self._late_s) / self._period_s)
        self._queue.at(tick * self._period_s, partial(self._show, key, amount))

    def of(self, key: str) -> float:
        """What the board says now."""
        return self._sums.get(key, 0.0)

    def _show(self, key: str, amount: float) -> None:
        self._sums[key] += amount
