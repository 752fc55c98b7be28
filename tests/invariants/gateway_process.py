"""A gateway's ledger in a process of its own, to be killed: `python -m tests.invariants.gateway_process URL REQUESTS`.

It places that many requests, prints a line when the store has them all, and holds them.
"""

from __future__ import annotations

import asyncio
import sys

from scheduler.decision import Place, RequestShape
from scheduler.pools import Pools
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from tests.invariants.lossy_pool import POOL
from tests.polling import until


async def hold(url: str, requests: int) -> None:
    async with open_store(url) as store, asyncio.TaskGroup() as tasks:
        pools = Pools(store, life="doomed", address="127.0.0.1:8001", settings=SchedulerSettings())
        tasks.create_task(pools.run(), name="gateway")
        await until(lambda: bool(pools.names()) and not pools.degraded, "the gateway has joined")
        pool = pools.get(POOL)
        assert pool is not None
        for turn in range(requests):
            shape = RequestShape(prompt_tokens=100, output_tokens=10, prompt_key=str(turn))
            decision = await pool.place(shape)
            assert isinstance(decision, Place)
        sys.stdout.write("holds\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1], int(sys.argv[2])))
