"""Receives what stat loggers push, and says when there is news to fold; pushed_load.py folds it."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

from agent.errors import PushError
from agent.push_table import PushTable
from agent.stat_push import LONGEST_BYTES, EnginePush, read_push
from agent.targets import Target
from agent.this_machine import is_on_this_machine

log = logging.getLogger(__name__)

FOLD_S = 0.05
"""Between two folds: a node reports no more often (report_timing.py), and a push has all that those before it had."""
_MOST_PER_FOLD = 1_000
"""Datagrams that are read between two folds: 64 ranks with 300 steps a second. The rest stays in the socket, and stat
loggers drop what they would add."""
_FEW_PER_FOLD = 5
"""Half of what a socket holds (net.unix.max_dgram_qlen): so many are left in it between two folds. A stat logger that
finds the agent waiting for it has to wake it, which is more than half of what a push costs vLLM."""
_REMARKABLE = frozenset(10**power for power in range(12))


class Pushes:
    """What was pushed to this socket by ranks of this machine; nothing without a socket.

    `unreadable` counts the datagrams that no stat logger wrote.
    """

    def __init__(self, bound: socket.socket | None) -> None:
        self._socket = bound
        self._targets: Counter[Target] = Counter()
        self._table = PushTable()
        self._news = asyncio.Event()
        self._taken = 0
        self.unreadable = 0

    async def watch(self, target: Target) -> bool:
        """Keep what is pushed of a port, unless its rank is on another machine; whether it is to be forgotten again.

        A port that is taken away and added again is watched twice for a moment.
        """
        if self._socket is None or not await is_on_this_machine(target.host):
            return False
        self._targets[target] += 1
        self._table.watch(target.port)
        return True

    def forget(self, target: Target) -> None:
        """Keep nothing of a port any longer, unless it is watched again."""
        self._targets -= Counter([target])
        if all(other.port != target.port for other in self._targets):
            self._table.forget(target.port)

    def drop(self, target: Target) -> None:
        """Believe nothing more of what was pushed of a port until now: it was of a life that is over."""
        self._table.drop(target.port)

    def of(self, target: Target) -> Mapping[str, EnginePush]:
        """What is known of a port's engines by their labels, all that has come to the socket by now included."""
        self._take()
        return self._table.of(target.port) if target in self._targets else MappingProxyType({})

    async def run(self, fold: Callable[[], None]) -> None:
        """Call `fold` soon after each news, until cancelled."""
        if self._socket is None:
            return
        loop = asyncio.get_running_loop()
        try:
            while True:
                loop.add_reader(self._socket, self._take)
                await self._news.wait()
                self._news.clear()
                fold()
                if self._taken <= _FEW_PER_FOLD:
                    loop.remove_reader(self._socket)
                self._taken = 0
                await asyncio.sleep(FOLD_S)
        finally:
            loop.remove_reader(self._socket)

    def _take(self) -> None:
        """Read what is there. A flood is left alone until the next fold, or it would keep the loop from all else."""
        if self._socket is None:
            return
        while self._taken < _MOST_PER_FOLD:
            try:
                datagram = self._socket.recv(LONGEST_BYTES + 1)
            except BlockingIOError:
                return
            self._taken += 1
            self._put(datagram)
        asyncio.get_running_loop().remove_reader(self._socket)
        self._news.set()

    def _put(self, datagram: bytes) -> None:
        try:
            if self._table.put(read_push(datagram), time.monotonic_ns()):
                self._news.set()
        except PushError as error:
            self.unreadable += 1
            if self.unreadable in _REMARKABLE:
                log.warning("%d unreadable datagrams on the stat socket so far: %s", self.unreadable, error)
