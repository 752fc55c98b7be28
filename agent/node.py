"""Runs one node: a watcher per port, one publisher, and a goodbye at the end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import anyio

from agent.node_report import NodeReport, node_report
from agent.probe import Probe, open_http
from agent.publisher import NodeReporter, Publisher
from agent.settings import AgentSettings
from agent.watcher import Watcher
from scheduler.errors import SchedulerError
from scheduler.rank_tls import rank_context

log = logging.getLogger(__name__)
_GOODBYE_DEADLINE_S = 2.0


async def run_node(settings: AgentSettings, reporter: NodeReporter, ready: Callable[[str], None]) -> None:
    """Watch and report the ranks until cancelled, then take them out of the pool.

    Calls `ready` once, when the store has accepted the first rank; its line names the ports still waited for. Raises,
    in an exception group, StoreRejectedError when the store never takes a report; and TlsFileError.
    """
    watchers: list[Watcher] = []

    def take() -> NodeReport:
        return node_report([watcher.port for watcher in watchers], settings, time.monotonic())

    publisher = Publisher(
        reporter,
        take,
        node=settings.node_name,
        heartbeat_ms=settings.heartbeat_ms,
        accepted=_ReadyLine(settings, ready).accepted,
    )
    tls = rank_context(settings.rank_ca, settings.rank_cert, settings.rank_key)
    async with open_http(tls) as http:
        for target in settings.targets:
            probe = Probe(http, target.url, settings)
            watchers.append(Watcher(target, probe, settings, publisher.changed))
        try:
            async with asyncio.TaskGroup() as tasks:
                for watcher in watchers:
                    tasks.create_task(watcher.run(), name=f"watch {watcher.port.target.name}")
                tasks.create_task(publisher.run(), name="publish")
        finally:
            with anyio.move_on_after(_GOODBYE_DEADLINE_S, shield=True):
                await _say_goodbye(reporter, settings.node_name)


async def _say_goodbye(reporter: NodeReporter, node: str) -> None:
    try:
        await reporter.goodbye()
    except SchedulerError as error:
        log.warning("node %s leaves without a goodbye, its ranks will age out: %s", node, error)


class _ReadyLine:
    """Says once that the node serves: at the first rank that the store accepted."""

    def __init__(self, settings: AgentSettings, ready: Callable[[str], None]) -> None:
        self._settings = settings
        self._ready = ready
        self._is_said = False

    def accepted(self, ranks: frozenset[str]) -> None:
        """Hear which ranks the store accepted."""
        if self._is_said or not ranks:
            return
        self._is_said = True
        ports = {rank.partition("#")[0] for rank in ranks}
        missing = [target.name for target in self._settings.targets if target.name not in ports]
        waiting = f"; waiting for {', '.join(missing)}" if missing else ""
        self._ready(
            f"agent {self._settings.node_name} reports {len(ranks)} {self._settings.role} "
            f"rank{'s' if len(ranks) > 1 else ''} to pool {self._settings.model}{waiting}"
        )
