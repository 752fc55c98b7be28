"""Many placements at once, planned from one snapshot by several gateways."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

from scheduler.calls import report_row
from scheduler.decision import RequestShape
from scheduler.messages import Role
from scheduler.planning import Rules, plan
from scheduler.policies import policy_named
from scheduler.view import PoolView
from tests.contract.world import NumberedGateway, World
from tests.samples import card, report

SHAPE = RequestShape(prompt_tokens=1000, output_tokens=100, prompt_key="", pairable=True)
CONNECTOR = "nixl"


async def idle_ranks(world: World, role: Role, ranks: int) -> None:
    """Reports so many ranks of a role, which do nothing."""
    names = [f"{role}{number}" for number in range(ranks)]
    rows = [report_row(report(name), card(name, role=role, connector=CONNECTOR, max_num_seqs=64)) for name in names]
    await world.report(*rows, owner=f"{role}/1")


async def place_at_once(world: World, placements: int, gateways: int, *, policy: str, seed: int = 1) -> Counter[str]:
    """Places through all gateways at the same time, none of which sees more than one common snapshot.

    Returns the legs of each rank. The pool must have ranks, and `placements` be a multiple of `gateways`.
    """
    view, pool_ms = await world.view(), float(await world.pool_ms())
    rules = Rules(policy=policy_named(policy), connectors=frozenset({CONNECTOR}))
    joined = [NumberedGateway(world, f"g{number}") for number in range(gateways)]
    for gateway in joined:
        await gateway.join()
    each = placements // gateways
    async with asyncio.TaskGroup() as tasks:
        for number, gateway in enumerate(joined):
            chance = Random(f"{seed}/{number}")
            ids = range(1 + number * each, 1 + (number + 1) * each)
            tasks.create_task(_place(gateway, view, rules, pool_ms, ids, chance), name=gateway.name)
    legs: Counter[str] = Counter()
    for gateway in joined:
        for record in (await gateway.held()).values():
            legs.update(record.split()[5::4])
    return legs


async def _place(
    gateway: NumberedGateway, view: PoolView, rules: Rules, pool_ms: float, ids: range, chance: Random
) -> None:
    for turn, reservation in enumerate(ids):
        planned = plan(SHAPE, view, rules, pool_ms=pool_ms, turn=turn, chance=chance)
        assert planned is not None
        reply = await gateway.place(planned.ask, reservation)
        assert reply[0] == b"place"
