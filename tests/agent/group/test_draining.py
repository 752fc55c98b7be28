"""A node of a DP group whose agent was told to end, while requests run on its ranks."""

from __future__ import annotations

from scheduler.group_generation import GroupPhase, Step
from tests.agent.group.fleet import NODES, fleet_of, said
from tests.polling import until
from tests.servers import RedisServer, needs_redis

pytestmark = needs_redis


async def test_a_node_that_ends_says_that_its_ranks_are_there_until_they_are_not(redis: RedisServer) -> None:
    async with fleet_of(redis, 1) as (fleet, _):
        fleet.start(*range(NODES))
        running = await fleet.until_running()
        fleet.empty[3].clear()
        fleet.ranks[3].may_stop.clear()
        fleet.tell_to_end(3)
        await fleet.until_heard("node-3", Step.DRAINING)
        assert await fleet.state() == (running.generation, GroupPhase.RUNNING)
        fleet.empty[3].set()
        await fleet.until_heard("node-3", Step.STOPPING)
        assert await fleet.state() == (running.generation, GroupPhase.STOPPING)
        await fleet.check()
        fleet.ranks[3].may_stop.set()
        await until(lambda: said(fleet, "rank 3 (no agent"), "it has left", pause_s=0.02)
        assert (await fleet.group()).why == "node-3 has left"


async def test_a_node_that_drains_stops_when_the_generation_ends(redis: RedisServer) -> None:
    async with fleet_of(redis, 1) as (fleet, _):
        fleet.start(*range(NODES))
        await fleet.until_running()
        fleet.empty[3].clear()
        fleet.tell_to_end(3)
        await fleet.until_heard("node-3", Step.DRAINING)
        await fleet.ranks[1].kill(0)
        await until(lambda: said(fleet, "rank 3 (no agent"), "it has left", pause_s=0.02)
        assert not fleet.ranks[3].alive
        fleet.empty[3].set()
        fleet.start(3)
        await fleet.until_running()
