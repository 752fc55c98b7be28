"""All pools of a store at work, and agents that report to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from scheduler.pools import Pools
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from scheduler.store import Store
from tests.scheduler.scene import SETTINGS


def reporter(store: Store, pool: str = "m", node: str = "n", seed: int = 1) -> Reporter:
    return Reporter(store, pool=pool, node=node, settings=SETTINGS, rng=Random(seed))


@asynccontextmanager
async def running(
    store: Store, connectors: frozenset[str] = frozenset(), *, settings: SchedulerSettings = SETTINGS
) -> AsyncIterator[Pools]:
    """Pools at work until the block ends."""
    pools = Pools(store, life="g", address="10.0.0.1:8000", settings=settings, connectors=connectors, rng=Random(3))
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(pools.run(), name="pools")
        yield pools
        keeping.cancel()
