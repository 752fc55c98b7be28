"""Runs an agent that finds its ranks itself: it looks for vLLM servers again and again, and attaches to each.

Ranks of one kind are one group (attachments.py), which is reported as an agent of its own. A server that ended is
watched for a while, so that it is reported as down and comes back when it is restarted.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping
from itertools import chain, count
from typing import NamedTuple

import anyio
import anyio.abc
import msgspec

from agent.auto.arguments import Arguments
from agent.auto.attachments import Found, Group, attachments, still_watched
from agent.auto.config_file import config_of
from agent.auto.processes import ServerProcess, server_processes
from agent.auto.server import FoundServer, read_server
from agent.claims import Beginning
from agent.errors import FoundServerError
from agent.launch.settings import LaunchSettings
from agent.node import Node, open_node
from agent.pushes import Pushes
from agent.settings import AgentSettings
from agent.targets import Target
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from scheduler.store import Store

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Between two looks at the node's processes; a server takes a minute to load its model."""


class _Agent(NamedTuple):
    """The agent of one group while it runs: `seen` says when each of its ports was last found."""

    name: str
    node: Node
    seen: dict[Target, float]
    running: anyio.CancelScope
    ended: anyio.Event


class AutoNode:
    """One node's groups while `run` runs. Gateways reach its ranks at `rank_host`; `ready` gets one group's line."""

    def __init__(
        self, settings: AgentSettings, store: Store, rank_host: str, pushes: Pushes, ready: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._store = store
        self._rank_host = rank_host.strip("[]")
        self._pushes = pushes
        self._ready: Callable[[str], None] | None = ready
        self._agents: dict[Group, _Agent] = {}
        self._beginning = Beginning()
        self._complaints: dict[int, str] = {}

    async def run(self) -> None:
        """Look, attach and let go until cancelled. Raises, in an exception group, what a node raises."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pushes.run, self._fold_pushes, name="fold what is pushed")
            while True:
                found = await anyio.to_thread.run_sync(find, self._settings, self._rank_host)
                self._complain(found)
                for group in list(self._agents):
                    await self._let_go(group, found)
                for group, targets in found.ports.items():
                    await self._attach(group, targets, tasks)
                await anyio.sleep(LOOK_S)

    async def _let_go(self, group: Group, found: Found) -> None:
        """Have the group's agent watch no longer what ended long ago, or is of another group now."""
        agent, here = self._agents[group], found.ports.get(group, ())
        elsewhere = {target for other, targets in found.ports.items() if other != group for target in targets}
        seen, forgotten = still_watched(agent.seen, here, time.monotonic(), elsewhere=elsewhere)
        if not seen:
            del self._agents[group]
            agent.running.cancel()
            await agent.ended.wait()
            return
        self._agents[group] = agent._replace(seen=seen)
        for target in forgotten:
            agent.node.remove(target)

    async def _attach(self, group: Group, found: tuple[Target, ...], tasks: anyio.abc.TaskGroup) -> None:
        """Have the group's agent watch what was found."""
        if group not in self._agents:
            self._agents[group] = await tasks.start(self._keep, group, found, name=f"group {found[0].name}")
        for target in found:
            self._agents[group].node.add(target)

    async def _keep(
        self,
        group: Group,
        found: tuple[Target, ...],
        *,
        task_status: anyio.abc.TaskStatus[_Agent] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        name = self._free_name(found[0])
        settings = settings_of(group, found, self._settings, name)
        reporter = Reporter(self._store, pool=settings.pool, node=name, settings=SchedulerSettings())
        ended = anyio.Event()
        try:
            with anyio.CancelScope() as running:
                async with open_node(settings, reporter, self._tell, self._pushes) as node:
                    now_s = time.monotonic()
                    task_status.started(_Agent(name, node, dict.fromkeys(found, now_s), running, ended))
                    node.on_answer = self._beginning.hear
                    await anyio.sleep_forever()
        finally:
            ended.set()

    def _free_name(self, first: Target) -> str:
        """By its first port, as other agents; the agent that had it may live on with its other ports."""
        name = f"{self._settings.node or socket.gethostname()}-{first.port}"
        taken = {agent.name for agent in self._agents.values()}
        return next(free for free in chain([name], (f"{name}-{n}" for n in count(2))) if free not in taken)

    def _fold_pushes(self) -> None:
        for agent in self._agents.values():
            agent.node.fold_pushes()

    def _tell(self, line: str) -> None:
        """The first group's line is the process's own."""
        ready, self._ready = self._ready, None
        (ready or log.info)(line)

    def _complain(self, found: Found) -> None:
        if not found.ports and not found.left_out and not self._agents:
            self._say(0, f"no vLLM server runs on this node yet; it is looked for every {LOOK_S:g} s")
        for pid, why in found.left_out.items():
            self._say(pid, f"vLLM server {pid} is not attached to: {why}")

    def _say(self, about: int, complaint: str) -> None:
        if self._complaints.get(about) != complaint:
            log.warning(complaint)
        self._complaints[about] = complaint


def find(settings: AgentSettings, rank_host: str) -> Found:
    """What there is to attach to on this node now, of the settings' model if they name one."""
    servers: list[FoundServer] = []
    unreadable: dict[int, str] = {}
    for process in server_processes():
        try:
            servers.append(_server(process))
        except FoundServerError as error:
            unreadable[process.pid] = str(error)
    wanted = [server for server in servers if settings.model in ("", server.model)]
    found = attachments(wanted, rank_host=rank_host, role=settings.role)
    return Found(found.ports, found.left_out | unreadable)


def _server(process: ServerProcess) -> FoundServer:
    given = Arguments(process.words)
    return read_server(process.pid, given.over(config_of(given, process.folder)), process.environment)


def settings_of(group: Group, found: tuple[Target, ...], settings: AgentSettings, name: str) -> AgentSettings:
    """The settings of one group's agent. Pure."""
    known: Mapping[str, object] = {
        "max_num_seqs": group.max_num_seqs or settings.max_num_seqs,
        "rank_api_key": group.api_key or settings.rank_api_key,
        "dp_group": settings.dp_group or group.dp_group,
        "connector": settings.connector if settings.connector != "auto" else group.connector or "auto",
    }
    return msgspec.structs.replace(
        settings,
        auto=False,
        launching=LaunchSettings(),
        model=group.model,
        role=group.role,
        ranks=",".join(target.url.removeprefix("http://") for target in found),
        node=name,
        **known,
    )
