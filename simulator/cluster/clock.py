"""Virtual time: what happens when, in an order that depends on nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush

Event = Callable[[], None]


class EventQueue:
    """Events by their time in seconds; of one time in the order in which they were entered."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, int, Event]] = []
        self._entered = 0
        self._stopped = False

    def at(self, time_s: float, event: Event) -> None:
        """Have it happen then; what is past happens now."""
        self._entered += 1
        heappush(self._events, (max(time_s, self.now_s), self._entered, event))

    def after(self, delay_s: float, event: Event) -> None:
        """Have it happen in so many seconds, not fewer than none."""
        self._entered += 1
        heappush(self._events, (self.now_s + delay_s, self._entered, event))

    def every(self, period_s: float, first_s: float, event: Event) -> None:
        """Have it happen at `first_s`, and each `period_s` after that."""
        self.at(first_s, partial(self._again, period_s, first_s, event))

    def stop(self) -> None:
        """Let nothing more happen."""
        self._stopped = True

    def run(self) -> None:
        """Let time go by until all has happened, or until `stop`."""
        events = self._events
        while events and not self._stopped:
            self.now_s, _, event = heappop(events)
            event()

    def _again(self, period_s: float, time_s: float, event: Event) -> None:
        event()
        self.every(period_s, time_s + period_s, event)
