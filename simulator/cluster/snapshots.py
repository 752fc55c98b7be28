"""What gateways last read of the pool in virtual time, as scheduler/snapshots.py keeps it where nothing is lost.

Gateways read at moments of their own, spread over the period. Those of equal moments read the same, so that there are
no more reads than `PHASES` a period, however many gateways there are. Most of what is read nobody looks at before the
next comes: it is laid over the last view only when somebody does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scheduler import calls
from scheduler.calls import Reply
from scheduler.keys import PoolKeys
from scheduler.pace import snapshot_interval_ms
from scheduler.prefix_holders import Holder, holders_of
from scheduler.view import Delta, PoolView, fold
from simulator.cluster.clock import EventQueue
from simulator.cluster.store_link import StoreLink
from simulator.cluster.writer import LEASE_MS

PHASES = 4
"""Moments within a period at which gateways read."""


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
        self._view = PoolView()
        self._unfolded: list[bytes] | None = None
        self._read_s = 0.0
        self._holders: Mapping[str, Holder] | None = None
        self._is_reading = False
        self.on_read: list[Callable[[], None]] = []
        self._take([link.now(self._call())])
        period_s = snapshot_interval_ms(ranks, snapshot_ms) / 1000
        queue.every(period_s, queue.now_s + period_s * (phase + 1) / PHASES, self._read)

    @property
    def view(self) -> PoolView:
        """The pool by the last snapshot."""
        if self._unfolded is not None:
            self._view, self._unfolded = self._folded(self._unfolded), None
        return self._view

    @property
    def epoch(self) -> str:
        """That of the last snapshot."""
        return self._view.epoch

    @property
    def pool_ms(self) -> float:
        """The pool time by the last snapshot."""
        return self.view.pool_ms + (self._queue.now_s - self._read_s) * 1000

    @property
    def holders(self) -> Mapping[str, Holder]:
        """What ranks may hold, by tag; found once for each snapshot, and only where somebody asks."""
        if self._holders is None:
            self._holders = holders_of(list(self.view.ranks.values()))
        return self._holders

    def _call(self) -> calls.Call:
        """What has changed since the last snapshot that anybody looked at."""
        return calls.snapshot(self._keys, LEASE_MS, self._view.epoch, self._view.version)

    def _folded(self, reply: list[bytes]) -> PoolView:
        view, skipped = fold(self._view, Delta.read(reply))
        if skipped:
            raise UnreadableRowError
        return view

    def _read(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._link.send([self._call()], self._take, self._lost)

    def _lost(self) -> None:
        self._is_reading = False

    def _take(self, replies: list[Reply]) -> None:
        self._is_reading = False
        epoch, *_ = reply = replies[0]
        if epoch == b"closed":
            return
        if epoch.decode() == self.epoch:
            self._unfolded = reply
        elif not self._begins(reply):
            return
        self._read_s = self._queue.now_s
        self._holders = None
        for call in self.on_read:
            call()

    def _begins(self, reply: list[bytes]) -> bool:
        """Takes over another epoch; not before all agents have told the store of their ranks: none ever leaves."""
        view = self._folded(reply)
        if self.view.ranks.keys() - view.ranks.keys():
            return False
        self._view, self._unfolded = view, None
        return True
