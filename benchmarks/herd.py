"""How many placements each rank gets when many come before anybody has seen any: `python -m benchmarks.herd`.

2,000 within a quarter of a second through 64 gateways onto 1,000 idle simulated ranks, of which no gateway gets a new
snapshot meanwhile, and 200 at once through 8 gateways onto 16 idle ranks in a redis-server of its own. Prints how many
ranks got how many, by policy.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

import click

from scheduler.messages import Role
from scheduler.policies import POLICIES
from scheduler.store import open_store
from tests.contract.herd import idle_ranks, place_at_once
from tests.contract.world import World
from tests.servers import RedisServer, redis_server
from tests.simulator.cluster.herd import placed_at_once

FEW, MANY = 16, 1000


def shown(policy: str, placed: Counter[str], ranks: int) -> str:
    """A line: how many ranks got how many."""
    counts = Counter(placed.values())
    counts[0] += ranks - len(placed)
    spread = ", ".join(f"{times}: {counts[times]}" for times in sorted(counts) if counts[times])
    return f"  {policy:>15}  most {max(placed.values()):3}   ranks by placements {spread}"


async def in_redis(server: RedisServer, policy: str) -> Counter[str]:
    """200 on 16 ranks in an empty store."""
    with server.client() as client:
        client.flushall()
    async with open_store(server.url) as store:
        world = World(store, _by_itself)
        await world.begin()
        await idle_ranks(world, Role.MIXED, FEW)
        return await place_at_once(world, 200, 8, policy=policy)


async def _by_itself(_world: World, _ms: int) -> None:
    """Time passes by itself."""


@click.command(help=__doc__)
def main() -> None:
    """Print both tables."""
    print(f"2,000 placements, 64 gateways, {MANY} idle ranks, simulated")  # noqa: T201
    for policy in POLICIES:
        print(shown(policy, placed_at_once(2000, 64, ranks=MANY, policy=policy), MANY))  # noqa: T201
    print(f"200 placements, 8 gateways, {FEW} idle ranks, redis-server")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
        for policy in POLICIES:
            print(shown(policy, asyncio.run(in_redis(server, policy)), FEW))  # noqa: T201


if __name__ == "__main__":
    main()
