"""4 nodes with simulated ranks on a real Redis, each an agent's part for its DP group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import anyio
import httpx

from agent.group_restart import GroupRestart
from forebay.causes import first_cause
from scheduler.group_admin import read_groups
from scheduler.group_generation import Generation, Group, GroupPhase, Span, Step
from scheduler.group_member import GroupMember
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from tests.agent.group.simulated_ranks import SimulatedRanks, listens
from tests.polling import until
from tests.ports import free_row
from tests.servers import RedisServer

POOL, GROUP = "sim", "decode"
SETTINGS = SchedulerSettings()
NODES = 4


class Fleet:
    """Nodes by number, each an agent's part for its group with simulated ranks."""

    def __init__(self, store: Store, tasks: asyncio.TaskGroup, ranks_per_node: int) -> None:
        self._store, self._tasks, self._count = store, tasks, ranks_per_node
        self.size = NODES * ranks_per_node
        self.first_port = free_row(self.size + 1)
        self.ranks = [
            SimulatedRanks(tasks, node * ranks_per_node, ranks_per_node, self.size, self.first_port)
            for node in range(NODES)
        ]
        self.empty = [asyncio.Event() for _ in range(NODES)]
        for empty in self.empty:
            empty.set()
        self._agents: dict[int, asyncio.Task[None]] = {}
        self._told: set[int] = set()
        self.ended: dict[int, BaseException] = {}

    def start(self, *nodes: int) -> None:
        for node in nodes:
            self._told.discard(node)
            self._agents[node] = self._tasks.create_task(self._run(node), name=f"agent {node}")

    def tell_to_end(self, node: int) -> None:
        """As SIGTERM does; it goes on until the node is empty."""
        if node not in self._told:
            self._agents[node].cancel()
        self._told.add(node)

    async def stop(self, *nodes: int) -> None:
        for node in nodes:
            self.tell_to_end(node)
        await asyncio.wait([self._agents[node] for node in nodes])

    async def stop_all(self) -> None:
        for may_end in (*self.empty, *(ranks.may_stop for ranks in self.ranks)):
            may_end.set()
        await self.stop(*self._agents)

    async def group(self) -> Group:
        (group,) = await read_groups(self._store, POOL, 0)
        return group

    async def state(self) -> tuple[Generation, GroupPhase]:
        group = await self.group()
        return group.generation, group.phase

    async def until_running(self, after: int = 0) -> Group:
        """Until the group runs in a generation later than that."""

        async def runs() -> bool:
            groups = await read_groups(self._store, POOL, 0)
            return bool(groups) and groups[0].generation.number > after and groups[0].phase is GroupPhase.RUNNING

        await until(runs, f"the group runs in a generation after {after}", pause_s=0.02)
        return await self.group()

    async def until_heard(self, name: str, step: Step) -> None:
        """Until a node has said that three times."""
        heard: set[int] = set()

        async def is_heard() -> bool:
            member = (await self.group()).member(name)
            heard.update({member.heard_version} if member and member.step is step else ())
            return len(heard) >= 3

        await until(is_heard, f"{name} says again and again that it is {step}", pause_s=0.02)

    async def check(self) -> None:
        """All answer, and none was ever refused."""
        assert [ranks.refused for ranks in self.ranks] == [[]] * NODES
        assert {ranks.starts for ranks in self.ranks} == {self.ranks[0].starts}
        async with httpx.AsyncClient(trust_env=False) as client:
            for rank in range(self.size):
                answer = await client.get(f"http://127.0.0.1:{self.first_port + rank}/health")
                assert answer.status_code == 200

    async def _run(self, node: int) -> None:
        span = Span(node * self._count, self._count, self.size)
        name = f"node-{node}"
        member = GroupMember(self._store, pool=POOL, group=GROUP, name=name, span=span, settings=SETTINGS)
        ranks = self.ranks[node]
        restart = GroupRestart(
            name,
            member,
            ranks,
            is_ready=lambda: ranks.ready,
            coordinated=partial(listens, self.first_port + self.size),
        )
        try:
            await restart.run()
        except ExceptionGroup as error:
            self.ended[node] = first_cause(error)
        finally:
            with anyio.CancelScope(shield=True):
                if node not in self.ended:
                    await restart.drain(self._until_empty(node))
                await restart.leave()

    def _until_empty(self, node: int) -> Callable[[], Awaitable[None]]:
        async def wait() -> None:
            await self.empty[node].wait()

        return wait


@asynccontextmanager
async def fleet_of(redis: RedisServer, ranks_per_node: int) -> AsyncIterator[tuple[Fleet, Store]]:
    with redis.client() as client:
        client.flushall()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(redis.url))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        fleet = Fleet(store, tasks, ranks_per_node)
        try:
            yield fleet, store
        finally:
            with suppress(ValueError):
                await fleet.stop_all()


async def said(fleet: Fleet, words: str) -> bool:
    """Whether these words are in what the group waits for."""
    with suppress(ValueError):
        return words in " ".join((await fleet.group()).awaited())
    return False
