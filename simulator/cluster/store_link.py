"""The way to the store in virtual time: what is sent is applied half a round trip later, all of it at one instant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from scheduler.calls import Call, Reply
from scheduler.store import ANSWER_TIMEOUT_S
from simulator.cluster.absence import NEVER, Absence
from simulator.cluster.clock import EventQueue

EPOCH_MS = 1_000_000_000
"""What the store's clock says at virtual time 0."""


class Store(Protocol):
    """Runs scripts at once; `now_ms` is what TIME answers."""

    now_ms: int

    def call(self, call: Call) -> Reply:
        """Runs one script now."""

    def forget(self) -> None:
        """Begin anew, empty."""


def nobody_minds() -> None:
    """For what is told again anyway."""


class StoreLink:
    """`round_trip_s` is from sending to the replies.

    In an `outage` the store answers nobody; whoever sent something learns of that as a gateway does, by its patience.
    """

    def __init__(
        self,
        queue: EventQueue,
        store: Store,
        round_trip_s: float,
        outage: Absence = NEVER,
        *,
        empties: bool = False,
    ) -> None:
        self._queue, self._store, self._outage = queue, store, outage
        self._half_s = round_trip_s / 2
        if empties:
            queue.at(outage.from_s, store.forget)

    @property
    def may_be_lost(self) -> bool:
        """Whether what is sent may not be answered in time, sooner or later."""
        return self._outage.for_s > 0

    def now(self, call: Call) -> Reply:
        """Applies a call at this instant."""
        self._store.now_ms = EPOCH_MS + round(self._queue.now_s * 1000)
        return self._store.call(call)

    def send(
        self,
        calls: Sequence[Call],
        take: Callable[[list[Reply]], None],
        lost: Callable[[], None] = nobody_minds,
    ) -> None:
        """Applies calls in order; `take` gets their replies, or `lost` is called where there are none."""
        self._queue.after(self._half_s, partial(self._apply, calls, take, lost))

    def _apply(self, calls: Sequence[Call], take: Callable[[list[Reply]], None], lost: Callable[[], None]) -> None:
        if self._outage.holds(self._queue.now_s):
            self._queue.after(max(0.0, ANSWER_TIMEOUT_S - self._half_s), lost)
            return
        replies = [self.now(call) for call in calls]
        self._queue.after(self._half_s, partial(take, replies))
