"""Runs an agent that finds its ranks itself: it looks for vLLM servers again and again, and attaches to each.

Ranks of one kind are one group (attachments.py), which is reported as an agent of its own. A server that ended is
watched for a while, so that it is reported as down and comes back when it is restarted.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping

import anyio
import anyio.abc
import msgspec

from agent.auto.arguments import Arguments
from agent.auto.attachments import Found, Group, attachments, still_watched
from agent.auto.config_file import config_of
from agent.auto.processes import ServerProcess, server_processes
from agent.auto.server import FoundServer, read_server
from agent.errors import FoundServerError
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
        self._nodes: dict[Group, Node] = {}
        self._seen: dict[Group, dict[Target, float]] = {}
        self._complaints: dict[int, str] = {}

    async def run(self) -> None:
        """Look, attach and let go until cancelled. Raises, in an exception group, what a node raises."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pushes.run, self._fold_pushes, name="fold what is pushed")
            while True:
                found = await anyio.to_thread.run_sync(find, self._settings, self._rank_host)
                self._complain(found)
                for group in {**found.ports, **self._seen}:
                    await self._follow(group, found.ports.get(group, ()), tasks)
                await anyio.sleep(LOOK_S)

    async def _follow(self, group: Group, found: tuple[Target, ...], tasks: anyio.abc.TaskGroup) -> None:
        """Have the group's agent watch what was found, and what has ended lately."""
        if group not in self._seen:
            self._nodes[group] = await tasks.start(self._keep, group, found, name=f"group {found[0].name}")
        seen, forgotten = still_watched(self._seen.get(group, {}), found, time.monotonic())
        self._seen[group] = seen
        node = self._nodes[group]
        for target in found:
            node.add(target)
        for target in forgotten:
            node.remove(target)

    async def _keep(
        self,
        group: Group,
        found: tuple[Target, ...],
        *,
        task_status: anyio.abc.TaskStatus[Node] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        settings = settings_of(group, found, self._settings)
        reporter = Reporter(self._store, pool=settings.pool, node=settings.node_name, settings=SchedulerSettings())
        async with open_node(settings, reporter, self._tell, self._pushes) as node:
            task_status.started(node)
            await anyio.sleep_forever()

    def _fold_pushes(self) -> None:
        for node in self._nodes.values():
            node.fold_pushes()

    def _tell(self, line: str) -> None:
        """The first group's line is the process's own."""
        ready, self._ready = self._ready, None
        (ready or log.info)(line)

    def _complain(self, found: Found) -> None:
        if not found.ports and not found.left_out and not self._seen:
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


def settings_of(group: Group, found: tuple[Target, ...], settings: AgentSettings) -> AgentSettings:
    """The settings of one group's agent. Pure but for the host's name."""
    known: Mapping[str, object] = {
        "max_num_seqs": group.max_num_seqs or settings.max_num_seqs,
        "rank_api_key": group.api_key or settings.rank_api_key,
        "dp_group": settings.dp_group or group.dp_group,
        "connector": settings.connector if settings.connector != "auto" else group.connector or "auto",
    }
    return msgspec.structs.replace(
        settings,
        auto=False,
        model=group.model,
        role=group.role,
        ranks=",".join(target.url.removeprefix("http://") for target in found),
        node=f"{settings.node or socket.gethostname()}-{found[0].port}",
        **known,
    )
