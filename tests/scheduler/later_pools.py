"""A gateway's pools in virtual time, on a store that counts and can withhold what it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from scheduler.calls import Call, Reply, Word
from scheduler.errors import SchedulerError, StoreUnavailableError
from scheduler.pools import Pools
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from scheduler.store import Store
from simulator.store import VirtualStore
from tests.invariants.virtual_loop import VirtualLoop
from tests.samples import card, report
from tests.scheduler.pools_at_work import reporter


class CountingStore:
    """A store; how many conversations it had at once, and how many calls of scripts.

    Cut off while it `is_down`. `withheld`: the error that is answered to whoever asks for a key. Answers to plain
    commands come `late_s`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.most_at_once = self._at_once = 0
        self.calls = 0
        self.is_down = False
        self.withheld: dict[Word, SchedulerError] = {}
        self.late_s = 0.0

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        """See scheduler.store.Store."""
        self.calls += len(calls)
        self._withhold([key for call in calls for key in call.keys])
        async with self._conversation():
            return await self._store.run(calls)

    async def command(self, *words: Word) -> Reply:
        """See scheduler.store.Store."""
        self._withhold(words)
        async with self._conversation():
            reply = await self._store.command(*words)
            await asyncio.sleep(self.late_s)
            return reply

    def _withhold(self, words: Sequence[Word]) -> None:
        for word in words:
            if word in self.withheld:
                raise self.withheld[word]

    @asynccontextmanager
    async def _conversation(self) -> AsyncIterator[None]:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.is_down:
                raise StoreUnavailableError("the connection is closed")
            yield
        finally:
            self._at_once -= 1


class Later:
    """A gateway's pools on a store of their own, in virtual time; `tell` and `leave` are an agent's."""

    def __init__(self) -> None:
        self.store, self.loop = VirtualStore(), VirtualLoop()
        self.wire = CountingStore(self.store)
        self.start()

    def start(self) -> None:
        self.pools = Pools(self.wire, life="g", address="h:1", settings=SchedulerSettings(), clock=self.loop.time)
        self._running = self.loop.create_task(self.pools.run(), name="pools")

    def start_anew(self) -> None:
        self.end()
        self.start()

    def tell(self, pool: str) -> Reporter:
        agent = reporter(self.store, pool)
        self.do(agent.report([report("a")], {"a": card("a", model=pool)}))
        return agent

    def do(self, deed: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(deed)

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.1)):
            self.do(asyncio.sleep(0.1))
            self.store.now_ms += 100
        assert not self._running.done()
        assert not self.loop.unhandled, self.loop.unhandled

    def end(self) -> None:
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            self.do(self._running)

    def close(self) -> None:
        self.end()
        self.loop.close()
