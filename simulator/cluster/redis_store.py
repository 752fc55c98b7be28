"""The ledger's scripts on a real Redis, under the simulation's clock: a check on the tables in memory, and slower."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

from scheduler.calls import Call, Reply
from scheduler.errors import SchedulerError
from scheduler.lua import Script, source
from scheduler.store import Store, open_store

CLOCK = """
local now_ms, stock = tonumber(table.remove(ARGV)), redis
local redis = setmetatable({call = function(name, ...)
  if name == 'TIME' then return {math.floor(now_ms / 1000), now_ms % 1000 * 1000} end
  return stock.call(name, ...)
end}, {__index = stock})
"""
"""Goes before every script: TIME is the last argument, and no host's clock."""


class StoreNotEmptyError(SchedulerError):
    """The database holds something, which a simulation would mix with its own and then throw away."""


class RedisStore:
    """A `simulator.cluster.store_link.Store` that waits for each reply; raises SchedulerError where there is none."""

    def __init__(self, runner: asyncio.Runner, store: Store, now_ms: int) -> None:
        self._runner, self._store = runner, store
        self._digests = {script: self._load(script) for script in Script}
        self.now_ms = now_ms

    def call(self, call: Call) -> Reply:
        """Runs one script now."""
        keys, digest = call.keys, self._digests[call.script]
        return self._runner.run(self._store.command("EVALSHA", digest, len(keys), *keys, *call.args, self.now_ms))

    def forget(self) -> None:
        """Begin anew, empty."""
        self._runner.run(self._store.command("FLUSHDB"))

    def _load(self, script: Script) -> bytes:
        digest: bytes = self._runner.run(self._store.command("SCRIPT", "LOAD", CLOCK + source(script)))
        return digest


@contextmanager
def redis_store(url: str, now_ms: int) -> Iterator[RedisStore]:
    """A store in the database at `url`, which must be empty and is emptied at the end.

    Raises StoreNotEmptyError, StoreUrlError or StoreUnavailableError.
    """
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        store = runner.run(stack.enter_async_context(open_store(url)))
        try:
            if runner.run(store.command("DBSIZE")):
                raise StoreNotEmptyError("the store's database is not empty; a simulation needs one of its own")
            try:
                yield RedisStore(runner, store, now_ms)
            finally:
                runner.run(store.command("FLUSHDB"))
        finally:
            runner.run(stack.aclose())
