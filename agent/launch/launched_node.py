"""Runs a node whose ranks the agent starts: together they begin, and in order they end.

At the first SIGTERM or SIGINT the ranks leave the pool, so that gateways place nothing more on them; what runs on them
goes on, for `drain_timeout_s` at most; then they are stopped. A second signal ends all of it at once.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import anyio
import msgspec

from agent.claims import StoreAnswer
from agent.errors import LaunchError
from agent.group_restart import Member
from agent.launch.group_upkeep import GroupUpkeep
from agent.launch.launched_ranks import LaunchedRanks
from agent.launch.plan import LaunchPlan
from agent.launch.readiness import LaunchedPort, is_empty
from agent.launch.settings import LaunchSettings
from agent.launch.upkeep import Upkeep
from agent.node import Node, open_node
from agent.publisher import NodeReporter
from agent.ready_line import ReadyLine
from agent.settings import AgentSettings

log = logging.getLogger(__name__)
_LOOK_S = 0.05
_LEAST_EMPTY_S = 1.0
"""Requests that were placed before the ranks left reach their engines up to 0.8 s later."""


def attached_settings(settings: AgentSettings, plan: LaunchPlan) -> AgentSettings:
    """The settings of an agent that attaches to the ranks of this plan. Raises LaunchError where they do not fit."""
    try:
        return msgspec.structs.replace(settings, ranks=plan.ranks, dp_group=plan.dp_group, launching=LaunchSettings())
    except ValueError as error:
        raise LaunchError(str(error)) from error


async def run_launched(
    settings: AgentSettings,
    plan: LaunchPlan,
    reporter: NodeReporter,
    ready: Callable[[str], None],
    member: Member | None = None,
) -> None:
    """Start the ranks of `plan`, watch, report and keep them until a signal or until cancelled; none is left then.

    `settings` are those of `attached_settings`, `member` the side of a DP group that spans nodes. Calls `ready` once,
    when the store has accepted all ranks. Raises, in an exception group, LaunchError, StoreRejectedError and
    TlsFileError.
    """
    line = ReadyLine(settings, ready, waits_for_all=True, more=f"; logs in {plan.log_dir}")
    ranks = LaunchedRanks(plan.commands, plan.settings.stop_timeout_s)
    serving, draining = anyio.CancelScope(), anyio.CancelScope()
    leaving = AsyncExitStack()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_heed_signals, serving, draining, ranks, name="signals")
        try:
            async with open_node(settings, reporter, line) as node:

                def look() -> list[LaunchedPort]:
                    return _ports(node, settings)

                def answer() -> StoreAnswer:
                    return node.answer

                async def until_empty() -> None:
                    await node.leave()
                    await _until_empty(look, settings, plan.settings.drain_timeout_s)

                upkeep: Upkeep | GroupUpkeep = (
                    GroupUpkeep(plan, ranks, look, answer, member, settings.node_name)
                    if member
                    else Upkeep(plan, ranks, look, answer)
                )
                leaving.push_async_callback(upkeep.leave)
                with serving:
                    await upkeep.run()
                with draining:
                    await upkeep.drain(until_empty)
        finally:
            with anyio.CancelScope(shield=True):
                await leaving.aclose()
        tasks.cancel_scope.cancel()


def _ports(node: Node, settings: AgentSettings) -> list[LaunchedPort]:
    return [
        LaunchedPort(
            port=watcher.port,
            complaint=watcher.complaint,
            stall_ms=settings.stall_ms,
            is_told=all(node.has_told(track.rank, track.incarnation.text) for track in watcher.port.ranks),
        )
        for watcher in node.watchers
    ]


async def _heed_signals(serving: anyio.CancelScope, draining: anyio.CancelScope, ranks: LaunchedRanks) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            if not serving.cancel_called:
                log.info("the ranks leave the pool; they are stopped when they are empty")
                serving.cancel()
            else:
                draining.cancel()
                await ranks.kill()


async def _until_empty(look: Callable[[], Sequence[LaunchedPort]], settings: AgentSettings, timeout_s: float) -> None:
    """Wait until the engines have been empty for a while, by looks after that."""
    if not any(port.port.ranks for port in look()):
        return
    settle_s = max(_LEAST_EMPTY_S, 2 * settings.idle_scrape_ms / 1e3)
    with anyio.move_on_after(timeout_s) as waiting:
        empty_since_s: float | None = None
        while empty_since_s is None or time.monotonic() - empty_since_s < settle_s:
            await anyio.sleep(_LOOK_S)
            if not is_empty(look()):
                empty_since_s = None
            elif empty_since_s is None:
                empty_since_s = time.monotonic()
    if waiting.cancelled_caught:
        log.warning("ranks are not empty after %g s; they are stopped all the same", timeout_s)
