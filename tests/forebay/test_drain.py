"""`forebay drain --wait`, against a store in which an agent has spoken once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from forebay.main import main
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from tests.samples import card, report
from tests.servers import needs_redis, redis_server

pytestmark = needs_redis


def drain(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["drain", "--redis", url, *arguments], env={"FOREBAY_NODE": "of an agent"})


async def say(url: str) -> None:
    async with open_store(url) as store:
        names = {"[::1]:1": "g", "b": "g", "c": ""}
        reporter = Reporter(store, pool="m", node="n", settings=SchedulerSettings())
        cards = {name: card(name, dp_group=group) for name, group in names.items()}
        await reporter.report([report(name) for name in names], cards)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with redis_server(tmp_path) as server:
        asyncio.run(say(server.url))
        yield server.url


def test_when_its_time_is_over_it_says_what_is_left_and_exits_with_3(url: str) -> None:
    result = drain(url, "c", "--wait", "--timeout-s", "0.3")
    assert result.exit_code == 3, result.output
    assert result.stdout == "c of pool m is drained: nothing more is placed on it\n"
    assert result.stderr == "not empty after 0.3 s: c: waiting for its engine to say that it is empty\n"


def test_without_wait_it_returns_at_once_with_all_ranks_of_a_group(url: str) -> None:
    result = drain(url, "--dp-group", "g")
    assert result.exit_code == 0, result.output
    said = " of pool m is drained: nothing more is placed on it\n"
    assert result.output == f"[::1]:1{said}b{said}"


def test_what_is_not_there_is_named_and_ends_with_1(url: str) -> None:
    result = drain(url, "--node", "x")
    assert (result.exit_code, result.output) == (1, "Error: no node 'x'; there are: n\n")
