"""A process's connection to a store in virtual time, with everything that can go wrong between the two."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum

from scheduler.calls import Call, Reply, Word
from scheduler.errors import StoreUnavailableError
from simulator.store import VirtualStore


class Fate(StrEnum):
    """What becomes of one exchange."""

    ARRIVES = "arrives"
    SLOW = "slow"
    """The reply comes after the caller's deadline for a placement, but it comes."""
    REQUEST_LOST = "request lost"
    REPLY_LOST = "reply lost"
    LATE = "late"
    """The caller has given up when the request arrives."""


class Server:
    """A VirtualStore whose clock follows the loop's, but for jumps; it can be down, or frozen."""

    def __init__(self, store: VirtualStore, now_s: Callable[[], float]) -> None:
        self.store, self._now_s = store, now_s
        self.clock_ahead_ms = store.now_ms
        self.is_down = False
        self.thaws_at_s = 0.0

    def apply(self, calls: Sequence[Call]) -> list[Reply]:
        """Runs the calls now. Raises StoreUnavailableError when it is down."""
        self._live()
        return [self.store.call(call) for call in calls]

    async def command(self, *words: Word) -> Reply:
        self._live()
        return await self.store.command(*words)

    def freeze(self, seconds: float) -> None:
        self.thaws_at_s = self._now_s() + seconds

    def _live(self) -> None:
        if self.is_down:
            raise StoreUnavailableError("connection refused")
        self.store.now_ms = self.clock_ahead_ms + round(self._now_s() * 1000)


class FaultyLink:
    """A Store. The next exchanges have the `fates` given, then all arrive. `is_cut`: nothing passes any more.

    `latency_s` is that of one way.
    """

    def __init__(self, server: Server, *, latency_s: float, timeout_s: float) -> None:
        self.fates: deque[Fate] = deque()
        self.late_by_s = 2 * timeout_s
        self.is_cut = False
        self.latency_s = latency_s
        self._server, self._timeout_s = server, timeout_s

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        """See scheduler.store.Store."""
        fate = self.fates.popleft() if self.fates else Fate.ARRIVES
        await self._travel()
        if fate is Fate.LATE:
            self._deliver_later(calls, self.late_by_s)
        if fate in {Fate.LATE, Fate.REQUEST_LOST}:
            await self._give_up()
        await self._thaw(calls)
        replies = self._server.apply(calls)
        if fate is Fate.REPLY_LOST:
            await self._give_up()
        await asyncio.sleep(self._timeout_s * 0.9 if fate is Fate.SLOW else self.latency_s)
        self._check()
        return replies

    async def command(self, *words: Word) -> Reply:
        """See scheduler.store.Store."""
        await self._travel()
        await self._thaw(())
        reply = await self._server.command(*words)
        await self._travel()
        return reply

    async def _travel(self) -> None:
        self._check()
        await asyncio.sleep(self.latency_s)
        self._check()

    def _check(self) -> None:
        if self.is_cut or self._server.is_down:
            raise StoreUnavailableError("connection refused")

    async def _thaw(self, calls: Sequence[Call]) -> None:
        """A frozen server answers when it thaws; who gave up before has still sent its calls."""
        left_s = self._server.thaws_at_s - asyncio.get_running_loop().time()
        if left_s > self._timeout_s:
            self._deliver_later(calls, left_s)
            await self._give_up()
        if left_s > 0:
            await asyncio.sleep(left_s)

    def _deliver_later(self, calls: Sequence[Call], after_s: float) -> None:
        asyncio.get_running_loop().call_later(after_s, self._deliver, calls)

    def _deliver(self, calls: Sequence[Call]) -> None:
        if not self._server.is_down:
            self._server.apply(calls)

    async def _give_up(self) -> None:
        await asyncio.sleep(self._timeout_s)
        raise StoreUnavailableError("timed out")
