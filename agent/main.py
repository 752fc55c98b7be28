"""The agent's process: its store, its signals, its node."""

from __future__ import annotations

import signal
from collections.abc import Callable

import anyio

from agent.node import run_node
from agent.settings import AgentSettings
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store


async def serve(settings: AgentSettings, ready: Callable[[str], None]) -> None:
    """Run an agent until SIGTERM or SIGINT, or until cancelled; then its ranks leave the pool.

    `ready` is called once with a line to print. A store that is away is waited for. Raises StoreUrlError for a URL that
    cannot be understood and, in an exception group, StoreRejectedError for a store that will not have us.
    """
    async with open_store(settings.redis) as store, anyio.create_task_group() as tasks:
        reporter = Reporter(store, pool=settings.model, node=settings.node_name, settings=SchedulerSettings())
        tasks.start_soon(_cancel_on_signal, tasks.cancel_scope, name="signals")
        await run_node(settings, reporter, ready)


async def _cancel_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return
