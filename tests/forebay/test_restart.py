"""`forebay restart`, and DP groups in `forebay status`, against a store that agents have spoken to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from forebay.main import main
from scheduler.group_generation import NONE, Cause, Group, Span, Standing, Step, Wish
from scheduler.group_member import GroupMember
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from tests.servers import needs_redis, redis_server

pytestmark = needs_redis


def forebay(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


async def say(url: str) -> None:
    """One of two nodes is there, and its ranks have failed once."""
    async with open_store(url) as store:
        member = GroupMember(
            store, pool="m", group="decode", name="node-1", span=Span(8, 8, 16), settings=SchedulerSettings()
        )
        await member.tell(Standing(NONE, Step.STOPPED))
        group = await member.tell(Standing(NONE, Step.STOPPED), Wish(Cause.FAILED, "rank 9 ended"))
        assert isinstance(group, Group)
        await member.tell(Standing(group.generation, Step.STOPPED))


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with redis_server(tmp_path) as server:
        asyncio.run(say(server.url))
        yield server.url


def test_the_status_shows_a_group_and_whom_it_waits_for(url: str) -> None:
    (group,) = json.loads(forebay("status", "--redis", url, "--json").output)["dp_groups"]
    (member,) = group.pop("members")
    assert group == {
        "pool": "m",
        "dp_group": "decode",
        "generation": 1,
        "phase": "starting",
        "size": 16,
        "failures": 1,
        "why": "rank 9 ended",
        "awaited": ["ranks 0-7 (no agent has said that it has them)"],
    }
    assert (member["node"], member["first_rank"], member["ranks"], member["step"]) == ("node-1", 8, 8, "stopped")
    shown = [" ".join(line.split()) for line in forebay("status", "--redis", url).output.splitlines()]
    assert "m decode starting 1 16 1 1 rank 9 ended" in shown
    assert "DP group decode of m waits for ranks 0-7 (no agent has said that it has them)" in shown


def test_an_operator_ends_a_generation_by_the_name_of_the_group(url: str) -> None:
    assert forebay("restart", "decode", "--redis", url).output == "DP group decode of pool m goes to generation 2\n"
    (group,) = json.loads(forebay("status", "--redis", url, "--json").output)["dp_groups"]
    assert (group["why"], group["failures"]) == ("an operator asked for it", 0)


def test_a_group_that_is_not_there_is_named(url: str) -> None:
    result = forebay("restart", "prefill", "--redis", url)
    assert result.exit_code == 1
    assert result.output == (
        "Error: no DP group 'prefill' of several nodes whose agents start its ranks; there are: decode\n"
    )
