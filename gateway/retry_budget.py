"""How many retries a gateway allows itself, so that they cannot multiply a load that ranks fail of. Pure.

Each request may lose one rank: a whole rank's requests are tried anew when it dies. What fails again and again cannot
more than double the load, nor take from others their first retry.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

WINDOW_S = 10
FLOOR = 10
"""A gateway with little to do may still try things anew."""


class RecentCount:
    """How often something happened in the last `WINDOW_S` seconds, to a second; memory is constant."""

    def __init__(self) -> None:
        self._counts = [0] * WINDOW_S
        self._second = 0

    def add(self, now_s: float) -> None:
        """It happens now; `now_s` never goes back."""
        self._move_to(int(now_s))
        self._counts[self._second % WINDOW_S] += 1

    def total(self, now_s: float) -> int:
        """How often it happened lately."""
        self._move_to(int(now_s))
        return sum(self._counts)

    def _move_to(self, second: int) -> None:
        if second == self._second:
            return
        for passed in range(max(self._second + 1, second - WINDOW_S + 1), second + 1):
            self._counts[passed % WINDOW_S] = 0
        self._second = max(self._second, second)


class RetryBudget:
    """The retries of one process: fewer in the window than `FLOOR`, the requests under way and those that have ended
    in it together. First retries are counted without the others, so each request has its own, whatever requests that
    nobody can serve have taken. `clock` answers monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._under_way = 0
        self._ended = RecentCount()
        self._first_retries, self._others = RecentCount(), RecentCount()

    def __enter__(self) -> None:
        """One more request is under way, while the context is open."""
        self._under_way += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """It has ended, however."""
        self._under_way -= 1
        self._ended.add(self._clock())

    def take(self, *, is_first: bool) -> bool:
        """Whether there may be one more retry, a request's first or not; it counts then."""
        now_s = self._clock()
        taken = self._first_retries.total(now_s) + (0 if is_first else self._others.total(now_s))
        if taken >= FLOOR + self._under_way + self._ended.total(now_s):
            return False
        (self._first_retries if is_first else self._others).add(now_s)
        return True
