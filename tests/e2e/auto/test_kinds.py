"""An agent that finds its ranks, where servers come back with other options than before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent import claims
from agent.auto import run
from agent.auto.attachments import Found, Group
from agent.auto.run import AutoNode
from agent.claims import Beginning, StoreAnswer
from agent.errors import RankClaimedError
from agent.pushes import Pushes
from agent.settings import AgentSettings
from agent.targets import Target
from forebay.causes import first_cause
from scheduler.admin import RankStatus, status
from scheduler.messages import Role
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from tests.polling import PATIENCE_S, until
from tests.servers import RedisServer, needs_redis, redis_server
from tests.simulator.rank_process import RankProcess, running_rank

pytestmark = needs_redis

Ports = dict[Group, tuple[Target, ...]]


class Site:
    """What is found on the node, which a test changes, and what the store says of it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ports: Ports = {}

    async def ranks(self) -> list[RankStatus]:
        return (await status(self.store, SchedulerSettings())).ranks

    async def until_roles(self, expected: dict[Target, Role]) -> None:
        async def are() -> bool:
            return {rank.rank: rank.role for rank in await self.ranks()} == {
                target.name: role for target, role in expected.items()
            }

        await until(are, f"the roles are {expected}", pause_s=0.05)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@asynccontextmanager
async def site(redis: RedisServer, monkeypatch: pytest.MonkeyPatch, node: str = "node-a") -> AsyncIterator[Site]:
    """A node where what its site says is found; of several each has a name of its own."""
    monkeypatch.setattr(run, "LOOK_S", 0.02)
    fast: Any = {"scrape_ms": 50, "idle_scrape_ms": 50, "heartbeat_ms": 50}
    settings = AgentSettings(redis=redis.url, auto=True, node=node, **fast)
    others = run.find

    def find(asking: AgentSettings, rank_host: str) -> Found:
        return Found(found.ports, {}) if asking.node == node else others(asking, rank_host)

    async with open_store(redis.url) as store, anyio.create_task_group() as tasks:
        found = Site(store)
        monkeypatch.setattr(run, "find", find)
        tasks.start_soon(AutoNode(settings, store, "127.0.0.1", Pushes(None), lambda _line: None).run)
        yield found
        tasks.cancel_scope.cancel()


def kind(role: Role, **options: str) -> Group:
    return Group("tiny", role, "", "", 8, options.get("api_key", ""))


def at(rank: RankProcess) -> Target:
    return Target("127.0.0.1", rank.port)


async def test_a_server_that_came_back_in_another_role_has_that_role_at_once(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_rank("--model", "tiny") as first, running_rank("--model", "tiny") as second:
        low, high = sorted((at(first), at(second)), key=lambda target: target.port)
        async with site(redis, monkeypatch) as node:
            node.ports = {kind(Role.PREFILL): (low, high)}
            await node.until_roles({low: Role.PREFILL, high: Role.PREFILL})
            node.ports = {kind(Role.PREFILL): (high,), kind(Role.MIXED): (low,)}
            await node.until_roles({low: Role.MIXED, high: Role.PREFILL})
            assert len({rank.agent for rank in await node.ranks()}) == 2
            node.ports = {kind(Role.MIXED): (low, high)}
            await node.until_roles({low: Role.MIXED, high: Role.MIXED})
            node.ports = {kind(Role.DECODE): (low, high)}
            await node.until_roles({low: Role.DECODE, high: Role.DECODE})


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[StoreAnswer]:
    """The answers of the store that agents hear which are made from now on."""
    heard: list[StoreAnswer] = []

    class Recording(Beginning):
        def hear(self, answer: StoreAnswer) -> None:
            heard.append(answer)
            super().hear(answer)

    monkeypatch.setattr(run, "Beginning", Recording)
    return heard


def refused_for_s(heard: list[StoreAnswer]) -> float:
    times = [answer.at_s for answer in heard if answer.refused]
    return max(times, default=0.0) - min(times, default=0.0)


async def attached_for_long(redis: RedisServer, monkeypatch: pytest.MonkeyPatch, ports: Ports) -> None:
    async with site(redis, monkeypatch, "node-b") as node:
        node.ports = ports
        with anyio.fail_after(PATIENCE_S):
            await anyio.sleep_forever()


async def test_of_servers_that_another_agent_has_none_is_attached_to_and_the_agent_ends(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "CLAIM_OVER_S", 0.2)
    with running_rank("--model", "tiny") as rank:
        async with site(redis, monkeypatch) as first:
            first.ports = {kind(Role.MIXED): (at(rank),)}
            await first.until_roles({at(rank): Role.MIXED})
            with pytest.raises(ExceptionGroup) as caught:
                await attached_for_long(redis, monkeypatch, first.ports)
            error = first_cause(caught.value)
            assert isinstance(error, RankClaimedError)
            assert str(error) == f"rank {at(rank).name} is claimed by agent node-a-{rank.port}"
            assert {each.rank for each in await first.ranks()} == {at(rank).name}


async def test_an_agent_that_serves_one_kind_goes_on_where_another_agent_has_a_server_of_another(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "CLAIM_OVER_S", 0.2)
    with running_rank("--model", "tiny") as claimed, running_rank("--model", "tiny") as own:
        async with site(redis, monkeypatch) as first:
            first.ports = {kind(Role.MIXED): (at(claimed),)}
            await first.until_roles({at(claimed): Role.MIXED})
            heard = recorded(monkeypatch)
            async with site(redis, monkeypatch, "node-b") as second:
                second.ports = {kind(Role.PREFILL): (at(own),)}
                await second.until_roles({at(claimed): Role.MIXED, at(own): Role.PREFILL})
                second.ports |= {kind(Role.DECODE): (at(claimed),)}
                await until(lambda: refused_for_s(heard) > 0.3, "the store has refused it for long")
            assert {rank.rank for rank in await first.ranks()} == {at(claimed).name}
