"""The way to the store in virtual time: what is sent is applied half a round trip later, all of it at one instant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from scheduler.calls import Call, Reply
from simulator.cluster.clock import EventQueue

EPOCH_MS = 1_000_000_000
"""What the store's clock says at virtual time 0."""


class Store(Protocol):
    """Runs scripts at once; `now_ms` is what TIME answers."""

    now_ms: int

    def call(self, call: Call) -> Reply:
        """Runs one script now."""


class StoreLink:
    """`round_trip_s` is from sending to the replies."""

    def __init__(self, queue: EventQueue, store: Store, round_trip_s: float) -> None:
        self._queue, self._store = queue, store
        self._half_s = round_trip_s / 2

    def now(self, call: Call) -> Reply:
        """Applies a call at this instant."""
        self._store.now_ms = EPOCH_MS + round(self._queue.now_s * 1000)
        return self._store.call(call)

    def send(self, calls: Sequence[Call], take: Callable[[list[Reply]], None]) -> None:
        """Applies calls in order; `take` gets their replies."""
        self._queue.after(self._half_s, partial(self._apply, calls, take))

    def _apply(self, calls: Sequence[Call], take: Callable[[list[Reply]], None]) -> None:
        replies = [self.now(call) for call in calls]
        self._queue.after(self._half_s, partial(take, replies))
