"""A gateway that lets keys with limits in, and what is used of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from scheduler.api_keys import ApiKey
from scheduler.keys import limit
from scheduler.limit_rule import SPAN
from scheduler.limits import SharedLimits
from scheduler.settings import SchedulerSettings
from simulator.store import VirtualStore
from tests.gateway.fake_pools import FakePools
from tests.gateway.named_keys import by_digest
from tests.gateway.running import Served, serving
from tests.polling import until

PATIENT = SchedulerSettings(place_deadline_ms=30_000)


@asynccontextmanager
async def limited(pools: FakePools, *keys: ApiKey, **options: Any) -> AsyncIterator[tuple[Served, VirtualStore]]:
    """A gateway that lets these keys in, with limits in a store of its own."""
    store = VirtualStore()
    limits = SharedLimits(store, gateway="7@gateway", settings=PATIENT, pools=list)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(limits.run())
        async with serving(pools, limits=limits, **options) as served:
            served.gateway.keys.replace("test", by_digest(*keys))
            yield served, store
        task.cancel()


async def used(store: VirtualStore, name: str) -> list[float]:
    """Requests and tokens in the buckets of a key."""
    row: bytes = await store.command("GET", limit(name)) or b"0 0 0 0"
    return [int(level) / SPAN for level in row.split()[2:4]]


async def eventually_used(store: VirtualStore, tokens: int) -> None:
    """Wait until so many tokens are in the bucket of `team`; what an answer has used is told a moment after it."""

    async def holds() -> bool:
        return (await used(store, "team"))[1] == tokens

    await until(holds, f"{tokens} tokens are used")
