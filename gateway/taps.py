"""What is read beside the relay of a stream: its usage, and its pace."""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections.abc import Sequence

from gateway import usage
from gateway.usage import Usage

USAGE = re.compile(rb'"usage": ?\{')


class UsageTap:
    """Keeps the last events that report the request's usage."""

    def __init__(self) -> None:
        self._reported = b""

    def see(self, events: bytes) -> None:
        """Whole events of the stream."""
        if b'"usage"' in events and USAGE.search(events):
            self._reported = events

    @property
    def usage(self) -> Usage | None:
        """What was reported last; None if nothing was that makes sense."""
        return usage.of_events(self._reported)


class PaceTap:
    """Counts the gaps between a stream's events, by the buckets they fall in.

    `counts` has one entry for each bound (the gaps up to it, in seconds) and one for all longer ones.
    """

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = bounds_s
        self._last_s = 0.0
        self.counts = [0] * (len(bounds_s) + 1)
        self.total_s = 0.0

    def see(self, _: bytes) -> None:
        """Something of the stream was passed on now."""
        now_s = time.monotonic()
        if self._last_s:
            gap_s = now_s - self._last_s
            self.counts[bisect_left(self._bounds_s, gap_s)] += 1
            self.total_s += gap_s
        self._last_s = now_s
