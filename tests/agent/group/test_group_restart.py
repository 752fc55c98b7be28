"""4 agents with 16 simulated ranks each on a real Redis: they are restarted as one, whatever ends."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from agent import group_restart
from agent.errors import GroupClaimedError, GroupDownError
from agent.group_restart import GroupRestart
from forebay.causes import first_cause
from scheduler.group_admin import end_generation
from scheduler.group_generation import Span
from scheduler.group_member import GroupMember
from tests.agent.group.fleet import GROUP, NODES, POOL, SETTINGS, fleet_of, said
from tests.agent.group.simulated_ranks import listens
from tests.polling import PATIENCE_S, until
from tests.servers import RedisServer, needs_redis

pytestmark = needs_redis


async def test_64_ranks_are_restarted_as_one_after_one_was_killed(redis: RedisServer) -> None:
    async with fleet_of(redis, 16) as (fleet, _):
        fleet.start(3, 1, 2)
        await until(lambda: said(fleet, "ranks 0-15"), "the fourth node is awaited", pause_s=0.02)
        assert [ranks.starts for ranks in fleet.ranks] == [0] * NODES
        fleet.start(0)
        first = await fleet.until_running()
        await fleet.check()
        await fleet.ranks[2].kill(5)
        second = await fleet.until_running(first.generation.number)
        assert second.why == "rank 37 was killed"
        await fleet.check()
        assert fleet.ranks[0].starts == 2


async def test_a_rank_that_comes_anew_alone_is_refused_and_the_group_begins_anew(redis: RedisServer) -> None:
    async with fleet_of(redis, 2) as (fleet, _):
        fleet.start(*range(NODES))
        first = await fleet.until_running()
        await fleet.ranks[1].restart_alone(0)
        second = await fleet.until_running(first.generation.number)
        assert second.why.startswith("rank 2 ended: ")
        assert [len(ranks.refused) for ranks in fleet.ranks] == [0, 1, 0, 0]


@pytest.mark.parametrize("node", [0, 3])
async def test_an_agent_that_is_started_anew_brings_the_group_through_a_generation(
    redis: RedisServer, node: int
) -> None:
    async with fleet_of(redis, 2) as (fleet, _):
        fleet.start(*range(NODES))
        first = await fleet.until_running()
        await fleet.stop(node)
        others = [other for other in range(NODES) if other != node]
        await until(lambda: not any(fleet.ranks[other].alive for other in others), "all stop their ranks")
        fleet.start(node)
        await fleet.until_running(first.generation.number)
        await fleet.check()


async def test_redis_emptied_changes_nothing(redis: RedisServer) -> None:
    async with fleet_of(redis, 2) as (fleet, _):
        fleet.start(*range(NODES))
        first = await fleet.until_running()
        with redis.client() as client:
            client.flushall()
        assert (await fleet.until_running()).generation == first.generation
        assert [ranks.starts for ranks in fleet.ranks] == [1] * NODES
        await fleet.check()


async def test_an_operator_has_it_restarted(redis: RedisServer) -> None:
    async with fleet_of(redis, 2) as (fleet, store):
        fleet.start(*range(NODES))
        first = await fleet.until_running()
        await end_generation(store, POOL, first, SETTINGS)
        assert (await fleet.until_running(first.generation.number)).why == "an operator asked for it"
        await fleet.check()


async def test_a_group_that_fails_again_and_again_stays_down(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.group_generation.RESTARTS_PER_HOUR", 1)
    async with fleet_of(redis, 1) as (fleet, _):
        fleet.start(*range(NODES))
        first = await fleet.until_running()
        await fleet.ranks[3].kill(0)
        second = await fleet.until_running(first.generation.number)
        await fleet.ranks[0].kill(0)
        await until(lambda: len(fleet.ended) == NODES, "all agents end")
        assert {type(error) for error in fleet.ended.values()} == {GroupDownError}
        assert "rank 0 was killed; to start again: forebay restart decode" in str(fleet.ended[1])
        assert not any(ranks.alive for ranks in fleet.ranks)
        assert (await fleet.group()).generation.number > second.generation.number


async def test_an_agent_whose_ranks_never_were_ready_ends_and_the_others_wait_for_it(redis: RedisServer) -> None:
    async with fleet_of(redis, 1) as (fleet, _):
        fleet.ranks[3].ends_at_once = True
        fleet.start(*range(NODES))
        await until(lambda: 3 in fleet.ended, "it ends")
        assert isinstance(fleet.ended[3], GroupDownError)
        assert str(fleet.ended[3]) == "rank 3 was killed; it was before the ranks of node-3 were all ready"
        await until(lambda: said(fleet, "rank 3 (no agent"), "it is awaited", pause_s=0.02)
        await until(lambda: not any(ranks.alive for ranks in fleet.ranks), "nothing is left half started")
        fleet.ranks[3].ends_at_once = False
        fleet.start(3)
        await fleet.until_running()
        assert fleet.ended.keys() == {3}


async def test_an_agent_with_the_ranks_of_another_ends(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_restart, "CLAIM_PATIENCE_S", 0.2)
    async with fleet_of(redis, 1) as (fleet, store):
        fleet.start(*range(NODES))
        await fleet.until_running()
        span = Span(2, 2, NODES)
        member = GroupMember(store, pool=POOL, group=GROUP, name="stranger", span=span, settings=SETTINGS)
        strange = GroupRestart("stranger", member, _NoRanks(), is_ready=lambda: False, coordinated=partial(listens, 1))
        with pytest.raises(ExceptionGroup) as caught, anyio.fail_after(PATIENCE_S):
            await strange.run()
        error = first_cause(caught.value)
        assert isinstance(error, GroupClaimedError)
        assert "which has rank" in str(error)
        await fleet.check()


class _NoRanks:
    async def start(self) -> None:
        raise AssertionError("started")

    async def stop(self) -> None:
        """There are none."""

    async def next_exit(self) -> str:
        raise AssertionError("not started")
