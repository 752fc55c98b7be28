"""An agent that finds its ranks, where servers come back with other options than before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from agent.auto import run
from agent.auto.attachments import Found, Group
from agent.auto.run import AutoNode
from agent.pushes import Pushes
from agent.settings import AgentSettings
from agent.targets import Target
from scheduler.admin import RankStatus, status
from scheduler.messages import Role
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from tests.polling import until
from tests.servers import RedisServer, needs_redis, redis_server
from tests.simulator.rank_process import RankProcess, running_rank

pytestmark = needs_redis


class Site:
    """What is found on the node, which a test changes, and what the store says of it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ports: dict[Group, tuple[Target, ...]] = {}

    def find(self, _settings: AgentSettings, _rank_host: str) -> Found:
        return Found(self.ports, {})

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
async def site(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(run, "LOOK_S", 0.02)
    settings = AgentSettings(redis=redis.url, auto=True, scrape_ms=50, idle_scrape_ms=50, heartbeat_ms=50)
    async with open_store(redis.url) as store, anyio.create_task_group() as tasks:
        found = Site(store)
        monkeypatch.setattr(run, "find", found.find)
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
