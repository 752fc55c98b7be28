"""What gateways last read of the pool in virtual time, as scheduler/snapshots.py keeps it where nothing is lost.

Gateways read at moments of their own, spread over the period. Those of equal moments read the same, so that there are
no more reads than `PHASES` a period, however many gateways there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from scheduler import calls
from scheduler.calls import Reply
from scheduler.keys import PoolKeys
from scheduler.pace import snapshot_interval_ms
from scheduler.prefix_holders import Holder, holders_of, known_ms
from scheduler.view import Delta, PoolView, fold
from simulator.cluster.clock import EventQueue
from simulator.cluster.store_link import StoreLink
from simulator.cluster.writer import LEASE_MS

PHASES = 4
"""Moments within a period at which gateways read."""


class Beliefs(NamedTuple):
    """What the prefix index asks of all ranks of a snapshot (scheduler/prefix_holders.py)."""

    holders: Mapping[str, Holder]
    known_ms: int


class UnreadableRowError(Exception):
    """A row of the store could not be read, though nobody spoilt one: the simulation is wrong."""


class Snapshots:
    """The last snapshot of the gateways of one phase, from 0 below `PHASES`; the first is read at once.

    What is in `on_read` is called after each.
    """

    def __init__(
        self, queue: EventQueue, link: StoreLink, keys: PoolKeys, *, ranks: int, snapshot_ms: int, phase: int
    ) -> None:
        self._queue, self._link, self._keys = queue, link, keys
        self.view = PoolView()
        self._read_s = 0.0
        self._beliefs: Beliefs | None = None
        self._is_reading = False
        self.on_read: list[Callable[[], None]] = []
        self._take([link.now(self._call())])
        period_s = snapshot_interval_ms(ranks, snapshot_ms) / 1000
        queue.every(period_s, queue.now_s + period_s * (phase + 1) / PHASES, self._read)

    @property
    def pool_ms(self) -> float:
        """The pool time by the last snapshot."""
        return self.view.pool_ms + (self._queue.now_s - self._read_s) * 1000

    @property
    def beliefs(self) -> Beliefs:
        """Found once for each snapshot, and only where somebody asks."""
        if self._beliefs is None:
            ranks = list(self.view.ranks.values())
            self._beliefs = Beliefs(holders_of(ranks), known_ms(ranks))
        return self._beliefs

    def _call(self) -> calls.Call:
        return calls.snapshot(self._keys, LEASE_MS, self.view.epoch, self.view.version)

    def _read(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._link.send([self._call()], self._take, self._lost)

    def _lost(self) -> None:
        self._is_reading = False

    def _take(self, replies: list[Reply]) -> None:
        self._is_reading = False
        if replies[0][0] == b"closed":
            return
        view, skipped = fold(self.view, Delta.read(replies[0]))
        if skipped:
            raise UnreadableRowError
        if self.view.ranks.keys() - view.ranks.keys():
            return  # the store began anew, and not all agents have told it of their ranks yet: none ever leaves
        self.view = view
        self._read_s = self._queue.now_s
        self._beliefs = None
        for call in self.on_read:
            call()
