"""How an agent keeps its ranks of a DP group that spans nodes; the group itself is in tests/agent/group/."""

from __future__ import annotations

import asyncio
import time

import pytest

from agent import claims
from agent.errors import LaunchError
from agent.launch.group_upkeep import GroupUpkeep
from forebay.causes import first_cause
from scheduler.group_generation import Group, Standing, Wish
from tests.agent.launch.site import Site
from tests.polling import until


class NoStore:
    """A member that has nobody to talk to."""

    async def tell(self, standing: Standing, wish: Wish | None = None) -> Group:
        raise AssertionError((standing, wish))


def upkeep_of(site: Site) -> GroupUpkeep:
    return GroupUpkeep(site.plan, site.ranks, site.look, site.store_answer, NoStore(), "node-a")


async def test_a_rank_that_ended_is_told_with_its_log() -> None:
    site = Site(is_group=True)
    upkeep = upkeep_of(site)
    await upkeep.start()
    site.ranks.end(1)
    assert await upkeep.next_exit() == "rank 1 was ended by signal 9; its log is /no/log"


async def test_ranks_that_are_late_are_told_by_number() -> None:
    site = Site(is_group=True, ready_timeout_s=0.1)
    upkeep = upkeep_of(site)
    await upkeep.start()
    assert await upkeep.next_exit() == "ranks 0, 1 are not ready after 0.1 s; logs in /no"


async def test_ranks_that_were_ready_in_time_are_late_no_more() -> None:
    site = Site(is_group=True, ready_timeout_s=1.0)
    upkeep = upkeep_of(site)
    await upkeep.start()
    begun_s = time.monotonic()
    site.lives = [1, 1]
    async with asyncio.TaskGroup() as tasks:
        said = tasks.create_task(upkeep.next_exit(), name="the first exit")
        seen = site.looks
        await until(lambda: site.looks > seen + 1, "they are seen ready")
        site.lives = [0, 0]
        await until(lambda: time.monotonic() - begun_s > 1.2 or said.done(), "the time for them to get ready is over")
        site.ranks.end(1)
    assert said.result() == "rank 1 was ended by signal 9; its log is /no/log"


async def test_members_of_a_group_that_another_agent_has_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CLAIM_OVER_S", 0.01)
    site = Site(is_group=True)
    upkeep = upkeep_of(site)
    await upkeep.start()
    site.lives = [1, 1]
    assert upkeep.is_ready()
    site.refused = {"127.0.0.1:9001": "node-b"}
    assert not upkeep.is_ready()
    with pytest.raises((LaunchError, ExceptionGroup)) as caught:
        await upkeep.next_exit()
    assert str(first_cause(caught.value)) == "rank 127.0.0.1:9001 is claimed by agent node-b"
