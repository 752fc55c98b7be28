"""An agent that begins ends where another has its ranks; one that has had them goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent import claims
from agent.errors import RankClaimedError
from agent.main import serve
from agent.node import Node, open_node
from agent.undisputed import until_undisputed
from forebay.causes import first_cause
from tests.agent.fakes import RecordingReporter, healthy_answers, scripted_rank
from tests.agent.running_node import FAST
from tests.agent.samples import settings
from tests.polling import PATIENCE_S, until
from tests.ports import free_ports
from tests.servers import RedisServer, needs_redis, redis_server

LONG_S = 3600.0


@asynccontextmanager
async def node_on(store: RecordingReporter, *ports: int) -> AsyncIterator[Node]:
    ranks = ",".join(f"127.0.0.1:{port}" for port in ports)
    async with open_node(settings(ranks=ranks, **FAST), store, lambda _line: None) as node:
        yield node


async def error_of(running: Awaitable[None]) -> str:
    """Of what ends by one."""
    with pytest.raises((RankClaimedError, ExceptionGroup)) as caught, anyio.fail_after(PATIENCE_S):
        await running
    cause = first_cause(caught.value)
    assert isinstance(cause, RankClaimedError)
    return str(cause)


async def test_an_agent_whose_rank_another_has_is_told_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CLAIM_OVER_S", 0.1)
    store = RecordingReporter()
    async with scripted_rank(healthy_answers()) as one, scripted_rank(healthy_answers()) as other:
        store.refuse = {f"127.0.0.1:{other.port}": "node-b"}
        async with node_on(store, one.port, other.port) as node:
            assert await error_of(until_undisputed(node)) == f"rank 127.0.0.1:{other.port} is claimed by agent node-b"
    assert store.goodbyes == 1


async def test_a_claim_that_is_given_up_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CLAIM_OVER_S", LONG_S)
    store = RecordingReporter()
    async with scripted_rank(healthy_answers()) as rank:
        store.refuse = {f"127.0.0.1:{rank.port}": "node-b"}
        async with node_on(store, rank.port) as node, asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(until_undisputed(node))
            await until(lambda: bool(node.refused()), "it is refused the rank")
            store.refuse = {}
            await until(lambda: bool(node.taken), "the rank is its own")
            monkeypatch.setattr(claims, "CLAIM_OVER_S", 0.0)
            await waiting


async def test_an_agent_that_has_told_nothing_yet_is_not_past_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CLAIM_OVER_S", 0.01)
    store, (port,) = RecordingReporter(), free_ports(1)
    async with node_on(store, port) as node, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(error_of(until_undisputed(node)))
        await until(lambda: bool(node.watchers[0].port.health.was_refused), "its rank is looked for")
        assert not waiting.done()
        store.refuse = {f"127.0.0.1:{port}": "node-b"}
        async with scripted_rank(healthy_answers(), port):
            assert await waiting == f"rank 127.0.0.1:{port} is claimed by agent node-b"


async def test_an_agent_that_had_its_ranks_for_long_is_not_ended_by_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CLAIM_OVER_S", 0.1)
    store = RecordingReporter()
    async with scripted_rank(healthy_answers()) as rank, node_on(store, rank.port) as node:
        with anyio.fail_after(PATIENCE_S):
            await until_undisputed(node)
        store.refuse = {f"127.0.0.1:{rank.port}": "node-b"}
        await until(lambda: bool(node.refused()), "another agent has it")
        told = len(store.told)
        await until(lambda: len(store.told) > told + 10, "it goes on")


@pytest.fixture
def redis(tmp_path: Path) -> Any:
    with redis_server(tmp_path) as server:
        yield server


@needs_redis
async def test_a_second_agent_of_a_rank_ends_and_the_first_goes_on(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "CLAIM_OVER_S", 0.1)
    lines: list[str] = []
    async with scripted_rank(healthy_answers()) as rank, asyncio.TaskGroup() as tasks:
        options = {"ranks": f"127.0.0.1:{rank.port}", "redis": redis.url, "heartbeat_ms": 50}
        first = tasks.create_task(serve(settings(**options, node="node-a"), lines.append))
        await until(lambda: len(lines) == 1, "the first has the rank")
        said = await error_of(serve(settings(**options, node="node-b"), lines.append))
        assert said == f"rank 127.0.0.1:{rank.port} is claimed by agent node-a"
        assert len(lines) == 1
        assert not first.done()
        first.cancel()
