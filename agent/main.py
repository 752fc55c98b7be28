"""The agent's process: its store, its signals, its node."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import anyio

from agent.auto.run import AutoNode
from agent.claims import Beginning
from agent.launch.launched_node import attached_settings, run_launched
from agent.launch.node_look import address_towards
from agent.launch.plan import LaunchPlan, make_plan
from agent.launch.rank_command import STAT_SOCKET
from agent.node import open_node
from agent.pushes import Pushes
from agent.settings import AgentSettings
from agent.stat_socket import OFF, stat_socket
from scheduler.errors import StoreUnavailableError, StoreWrongTypeError
from scheduler.group_generation import Span
from scheduler.group_member import GroupMember
from scheduler.keys import PoolKeys
from scheduler.rank_tls import rank_context
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from scheduler.store_url import parse_store_url

log = logging.getLogger(__name__)


async def serve(settings: AgentSettings, ready: Callable[[str], None]) -> None:
    """Run an agent until SIGTERM or SIGINT, or until cancelled; then its ranks leave the pool.

    `ready` is called once with a line to print. A store that is away is waited for. Raises StoreUrlError for a URL that
    cannot be understood, TlsFileError, LaunchError for ranks that cannot be started or kept and, in an exception group,
    RankClaimedError for ranks that another agent has, StoreRejectedError for a store that will not have us.
    """
    if settings.launching.launch:
        await _serve_launched(settings, ready)
        return
    if settings.auto:
        await _serve_found(settings, ready)
        return
    async with open_store(settings.redis) as store, anyio.create_task_group() as tasks:
        reporter = Reporter(store, pool=settings.pool, node=settings.node_name, settings=SchedulerSettings())
        tasks.start_soon(_cancel_on_signal, tasks.cancel_scope, name="signals")
        await _ask_once(store, settings)
        async with open_node(settings, reporter, ready) as node:
            node.on_answer = Beginning().hear
            await anyio.sleep_forever()


async def _serve_launched(settings: AgentSettings, ready: Callable[[str], None]) -> None:
    """The same for ranks that this agent starts, and stops before it ends."""
    # Refused before a folder for logs is made.
    rank_context(settings.rank_ca, settings.rank_cert, settings.rank_key)
    environment = _environment_of_ranks(settings.stat_socket)
    plan = make_plan(settings.launching, settings.redis, settings.dp_group, environment)
    settings = attached_settings(settings, plan)
    async with open_store(settings.redis) as store:
        reporter = Reporter(store, pool=settings.pool, node=settings.node_name, settings=SchedulerSettings())
        await _ask_once(store, settings)
        await run_launched(settings, plan, reporter, ready, _member(store, settings, plan))


def _environment_of_ranks(socket_path: str) -> dict[str, str]:
    """The agent's, with the stat socket that it takes, wherever the ranks are started; without one if it takes none."""
    others = {name: value for name, value in os.environ.items() if name != STAT_SOCKET}
    return others if socket_path in {"", OFF} else others | {STAT_SOCKET: str(Path(socket_path).absolute())}


async def _serve_found(settings: AgentSettings, ready: Callable[[str], None]) -> None:
    """The same for the vLLM servers that are found on this node, as they come and go."""
    rank_host = settings.launching.rank_host or address_towards(parse_store_url(settings.redis))
    async with open_store(settings.redis) as store, anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_on_signal, tasks.cancel_scope, name="signals")
        with stat_socket(settings.stat_socket) as bound:
            await AutoNode(settings, store, rank_host, Pushes(bound), ready).run()


def _member(store: Store, settings: AgentSettings, plan: LaunchPlan) -> GroupMember | None:
    """This node's side of its DP group, if other nodes have ranks of it."""
    if not plan.is_group or plan.is_whole_group:
        return None
    launching = plan.settings
    span = Span(launching.dp_rank_start, launching.local_ranks, launching.dp_size)
    name = "_".join(settings.node_name.split())
    scheduling = SchedulerSettings()
    return GroupMember(store, pool=settings.pool, group=plan.dp_group, name=name, span=span, settings=scheduling)


async def _ask_once(store: Store, settings: AgentSettings) -> None:
    """Read what every report begins with, so that a wrong URL is told while the ranks are still loading."""
    try:
        await store.command("GET", PoolKeys(settings.pool).head)
    except StoreUnavailableError as error:
        log.warning("node %s: %s; going on, and reporting as soon as it does", settings.node_name, error)
    except StoreWrongTypeError:
        return  # the first report begins the pool anew


async def _cancel_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return
