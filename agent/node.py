"""Runs one node: a watcher per port, one publisher, and a goodbye at the end. Ports may be added and taken away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import anyio
import httpx
import msgspec

from agent.claims import StoreAnswer
from agent.look_times import phase_of
from agent.node_report import NodeReport, node_report
from agent.port_state import PortState
from agent.probe import Probe, open_http
from agent.publisher import NodeReporter, Publisher
from agent.pushes import Pushes
from agent.ready_line import ReadyLine
from agent.settings import AgentSettings
from agent.stat_socket import stat_socket
from agent.targets import Target
from agent.watcher import Watcher
from scheduler.errors import SchedulerError
from scheduler.rank_tls import rank_context

log = logging.getLogger(__name__)
_GOODBYE_DEADLINE_S = 2.0


class Node:
    """A node that runs: its ports are watched from when they are added until they are removed. Made by `open_node`."""

    def __init__(
        self, settings: AgentSettings, http: httpx.AsyncClient, pushes: Pushes, tasks: asyncio.TaskGroup
    ) -> None:
        self._settings, self._http, self._pushes, self._tasks = settings, http, pushes, tasks
        self._watched: dict[Target, tuple[Watcher, asyncio.Task[None]]] = {}
        self._leaving: dict[Target, PortState] = {}
        self._numbers = count()
        self.changed: Callable[[], None] = lambda: None
        """Called whenever there may be something new to report."""
        self.answer = StoreAnswer()
        """The store's to the last report that it has answered."""
        self.on_answer: Callable[[StoreAnswer], None] = lambda _answer: None
        """Called with each; what it raises ends the node."""
        self.has_told: Callable[[str, str], bool] = lambda _rank, _incarnation: False
        """Whether the store has answered a report of a rank's life, or cannot be asked."""
        self._leave: Callable[[], Awaitable[None]] | None = None

    @property
    def watchers(self) -> tuple[Watcher, ...]:
        """Those of the ports, in the order in which they were added."""
        return tuple(watcher for watcher, _ in self._watched.values())

    def on_leave(self, leave: Callable[[], Awaitable[None]]) -> None:
        """Have `leave` awaited when the ranks are to leave the pool."""
        self._leave = leave

    async def leave(self) -> None:
        """Report no more: the ranks leave the pool, and are still watched. Idempotent."""
        leave, self._leave = self._leave, None
        if leave:
            await leave()

    def add(self, target: Target) -> None:
        """Watch a port from now on: its ranks are offered once it answers. One that is watched already stays so."""
        if target in self._watched:
            return
        page_url = self._settings.metrics_urls.get(target, target.url)
        probe = Probe(self._http, target.url, self._settings, page_url)
        phase = phase_of(next(self._numbers))
        watcher = Watcher(target, probe, self._pushes, self._settings, self._changed, phase)
        self._watched[target] = watcher, self._tasks.create_task(watcher.run(), name=f"watch {target.name}")

    def remove(self, target: Target) -> None:
        """Watch a port no longer; with the next report its ranks leave the pool. Nothing happens to one not watched."""
        watcher, task = self._watched.pop(target, (None, None))
        if watcher and task:
            task.cancel()
            known = {track.rank: track for track in watcher.port.ranks if track.card is not None}
            if (earlier := self._leaving.get(target)) is not None:
                known = {track.rank: track for track in earlier.ranks} | known
            if known:
                self._leaving[target] = msgspec.structs.replace(watcher.port, ranks=tuple(known.values()))
                self._changed()

    def ranks_at(self, target: Target) -> tuple[str, ...]:
        """The ranks behind a port that have been introduced, by name; none before it has answered."""
        watcher, _ = self._watched.get(target, (None, None))
        return tuple(track.rank for track in watcher.port.ranks if track.card) if watcher else ()

    def fold_pushes(self) -> None:
        """Take in what has been pushed by now."""
        for watcher, _ in self._watched.values():
            watcher.fold_pushes()

    def report(self) -> NodeReport:
        """What is to be said of all ranks now."""
        ports = [watcher.port for watcher, _ in self._watched.values()]
        leaving = tuple(self._without_those_back(target, port) for target, port in self._leaving.items())
        return node_report(ports, self._settings, time.monotonic(), leaving=leaving)

    def reported(self, report: NodeReport, answer: StoreAnswer) -> None:
        """The store has heard this: who was said to leave in it has left."""
        self.answer = answer
        gone = report.gone
        for target, port in list(self._leaving.items()):
            if all(track.rank in gone for track in self._without_those_back(target, port).ranks):
                del self._leaving[target]

    def stop(self) -> None:
        """Watch nothing any more; the ranks stay as they were reported."""
        for _, task in self._watched.values():
            task.cancel()

    def _without_those_back(self, target: Target, port: PortState) -> PortState:
        """A port that was removed, without the ranks that are known anew since it was added again."""
        back = self.ranks_at(target)
        return msgspec.structs.replace(port, ranks=tuple(track for track in port.ranks if track.rank not in back))

    def _changed(self) -> None:
        self.changed()


@asynccontextmanager
async def open_node(
    settings: AgentSettings,
    reporter: NodeReporter,
    ready: Callable[[str], None] | ReadyLine,
    shared: Pushes | None = None,
) -> AsyncIterator[Node]:
    """Watch and report the ranks of the settings, and what is added, until left; then all of them leave the pool.

    Calls `ready` once, when the store has accepted the first rank; its line names the ports still waited for. Raises,
    in an exception group, StoreRejectedError when the store never takes a report; TlsFileError; StatSocketError. Of
    several nodes of one process each has the `shared` pushes, which whoever gives them folds in.
    """
    ready_line = ready if isinstance(ready, ReadyLine) else ReadyLine(settings, ready)
    tls = rank_context(settings.rank_ca, settings.rank_cert, settings.rank_key)
    async with open_http(tls) as http:
        if shared is not None:
            async with _reporting(settings, reporter, ready_line, http, shared) as node:
                yield node
            return
        with stat_socket(settings.stat_socket) as bound:
            pushes = Pushes(bound)
            async with _reporting(settings, reporter, ready_line, http, pushes, folds=True) as node:
                yield node


@asynccontextmanager
async def _reporting(
    settings: AgentSettings,
    reporter: NodeReporter,
    ready_line: ReadyLine,
    http: httpx.AsyncClient,
    pushes: Pushes,
    *,
    folds: bool = False,
) -> AsyncIterator[Node]:
    try:
        async with asyncio.TaskGroup() as tasks:
            node = Node(settings, http, pushes, tasks)

            def answered(report: NodeReport, answer: StoreAnswer) -> None:
                node.reported(report, answer)
                ready_line.accepted(answer.taken)
                node.on_answer(answer)

            publisher = Publisher(
                reporter,
                node.report,
                node=settings.node_name,
                heartbeat_ms=settings.heartbeat_ms,
                answered=answered,
            )
            node.changed = publisher.changed
            node.has_told = publisher.has_told
            for target in settings.targets:
                node.add(target)
            publishing = tasks.create_task(publisher.run(), name="publish")
            running = [publishing]
            if folds:
                running.append(tasks.create_task(pushes.run(node.fold_pushes), name="fold what is pushed"))

            async def leave() -> None:
                if not publishing.done():
                    publishing.cancel()
                    with anyio.CancelScope(shield=True):
                        await asyncio.wait({publishing})
                await _say_goodbye(reporter, settings.node_name)

            node.on_leave(leave)
            try:
                yield node
            finally:
                node.stop()
                for task in running:
                    task.cancel()
    finally:
        await node.leave()


async def _say_goodbye(reporter: NodeReporter, node: str) -> None:
    with anyio.move_on_after(_GOODBYE_DEADLINE_S, shield=True):
        try:
            await reporter.goodbye()
        except SchedulerError as error:
            log.warning("node %s leaves without a goodbye, its ranks will age out: %s", node, error)
