"""How an agent keeps the ranks it launched, by what it hears and sees of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent import claims
from agent.errors import LaunchError
from agent.launch import upkeep
from agent.launch.upkeep import Upkeep
from tests.agent.launch.site import Site
from tests.polling import PATIENCE_S, until


@asynccontextmanager
async def kept(site: Site) -> AsyncIterator[asyncio.Task[None]]:
    """Upkeep that has begun, its ranks ready."""
    upkeep = Upkeep(site.plan, site.ranks, site.look, site.store_answer)
    task = asyncio.create_task(upkeep.run())  # noqa: TID251
    try:
        await until(lambda: site.ranks.done == ["start"], "the ranks are started")
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_LOOK_S", 0.001)
    monkeypatch.setattr("agent.launch.after_exit._FIRST_DELAY_S", 0.001)


async def error_of(task: asyncio.Task[None]) -> str:
    async with asyncio.timeout(PATIENCE_S):
        (error,) = await asyncio.gather(task, return_exceptions=True)
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, LaunchError)
    return str(error)


async def test_an_independent_rank_that_ends_is_begun_anew_and_the_other_is_left_alone() -> None:
    site = Site(is_group=False)
    async with kept(site):
        site.lives = [1, 1]
        site.ranks.end(1)
        await until(lambda: site.ranks.done == ["start", "stop 1", "start 1"], "it is begun anew")


async def test_a_dp_group_that_is_all_here_ends_whole_before_it_is_begun_anew() -> None:
    site = Site(is_group=True)
    async with kept(site):
        site.lives = [1, 1]
        site.ranks.end(1)
        await until(lambda: site.ranks.done == ["start", "stop", "start"], "it is begun anew")


async def test_the_looks_before_a_rank_ended_make_its_next_life_not_ready() -> None:
    site = Site(is_group=True, answers=True, ready_timeout_s=0.1)
    async with kept(site) as task:
        site.ranks.end(1)
        await until(lambda: site.ranks.done == ["start", "stop", "start"], "it is begun anew")
        said = await error_of(task)
    assert said.startswith("rank 0: 127.0.0.1:9000 is not ready after 0.1 s: it is not offered: yet")


async def test_an_independent_rank_that_is_not_ready_in_its_next_life_is_given_up_and_the_other_goes_on() -> None:
    site = Site(is_group=False, answers=True, ready_timeout_s=0.1)
    async with kept(site) as task:
        site.ranks.end(1)
        await until(lambda: site.ranks.done == ["start", "stop 1", "start 1", "stop 1"], "it is given up")
        site.ranks.end(0)
        assert (await error_of(task)).startswith("rank 0: 127.0.0.1:9000 is not ready after 0.1 s")
        assert site.ranks.done[4:] == ["stop 0", "start 0"]


async def test_ranks_that_another_agent_has_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CLAIM_OVER_S", 0.01)
    site = Site(is_group=False)
    site.refused = {"127.0.0.1:9001": "node-b"}
    async with kept(site) as task:
        site.lives = [1, 1]
        assert await error_of(task) == "rank 127.0.0.1:9001 is claimed by agent node-b"


async def test_a_claim_does_not_grow_old_while_the_store_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CLAIM_OVER_S", 0.01)
    site = Site(is_group=False)
    async with kept(site) as task:
        site.refused, site.lives = {"127.0.0.1:9001": "node-b"}, [1, 1]
        site.store_answer()
        site.store_is_away, enough = True, site.looks + 5
        await until(lambda: site.looks > enough, "they have been looked at")
        assert not task.done()
        site.store_is_away = False
        assert await error_of(task) == "rank 127.0.0.1:9001 is claimed by agent node-b"


async def test_ranks_are_not_ready_before_the_store_has_said_whose_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CLAIM_OVER_S", 0.01)
    site = Site(is_group=False)
    site.is_told = False
    async with kept(site) as task:
        site.lives, enough = [1, 1], site.looks + 5
        await until(lambda: site.looks > enough, "they have been looked at")
        site.refused, site.is_told = {"127.0.0.1:9001": "node-b"}, True
        assert await error_of(task) == "rank 127.0.0.1:9001 is claimed by agent node-b"


async def test_an_independent_rank_that_cannot_be_begun_anew_yet_does_not_end_the_other() -> None:
    site = Site(is_group=False)
    async with kept(site) as task:
        site.lives = [1, 1]
        site.ranks.hindrances = ["port 9001: Address already in use"]
        site.ranks.end(1)
        await until(lambda: site.ranks.done.count("start 1") == 2, "it is tried again")
        assert not task.done()
        assert site.ranks.done == ["start", "stop 1", "start 1", "stop 1", "start 1"]


async def test_a_rank_that_never_lasts_is_given_up_and_the_last_one_ends_the_agent() -> None:
    site = Site(is_group=False)
    async with kept(site) as task:
        site.lives = [1, 1]
        for tries in range(1, 7):
            site.ranks.end(1)
            await until(lambda n=tries: site.ranks.done.count("stop 1") == n, "it has ended")  # type: ignore[misc]
            await until(lambda n=tries: site.ranks.done.count("start 1") == min(n, 5), "it is begun anew, or not")  # type: ignore[misc]
        for _ in range(6):
            site.ranks.end(0)
        assert (await error_of(task)).startswith("rank 0 (port 9000) was ended by signal 9 after 5 tries")
