"""What a gateway that has just started waits for: its pools and its keys. Requests that come before wait with it.

Whoever sends them may not have asked `/readyz`; it takes a moment where Redis is there.
"""

from __future__ import annotations

import anyio

from gateway.access import RequestRecord
from gateway.auth import KeyRing
from gateway.errors import NoRankError
from gateway.placing import Pools
from gateway.rank_wait import RankWait

POLL_S = 0.02
"""How often it is looked whether they are there."""
RETRY_AFTER_MS = 1_000
NOT_REACHED = "the store has not been reached yet"


class Readiness:
    """Of one gateway; whoever waits does so within the bounds of `rank_wait`. `sole_pool`: the only one it serves."""

    def __init__(self, pools: Pools, keys: KeyRing, rank_wait: RankWait, sole_pool: str = "") -> None:
        self._pools, self._keys, self._rank_wait, self._sole_pool = pools, keys, rank_wait, sole_pool
        self._knows_pools, self._knows_keys = anyio.Event(), anyio.Event()

    @property
    def is_complete(self) -> bool:
        """Whether the store has been reached, and the keys in it."""
        return self._pools.ready and self._keys.is_read

    async def run(self) -> None:
        """Wake whoever waits; returns when nobody has to wait any more."""
        while True:
            if self._pools.ready:
                self._knows_pools.set()
            if self._keys.is_read:
                self._knows_keys.set()
            if self.is_complete:
                return
            await anyio.sleep(POLL_S)

    async def of_pools(self, record: RequestRecord) -> None:
        """Return when it is known which models there are. Raises NoRankError where that takes too long."""
        if not self._pools.ready:
            await self._rank_wait.until(self._knows_pools, record)
            if not self._pools.ready:
                raise NoRankError(NOT_REACHED, retry_after_ms=RETRY_AFTER_MS)
        while self._sole_pool and not self._pools.known(self._sole_pool) and self._rank_wait.may_wait(record):
            await self._rank_wait.pause(POLL_S, record)

    async def of_keys(self, record: RequestRecord) -> None:
        """Return when the keys have been read, or that takes too long."""
        await self._rank_wait.until(self._knows_keys, record)
