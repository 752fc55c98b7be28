"""What stands behind a proxy's gateways: a store, agents that read the ranks, and answers about these."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple

import anyio
import msgspec
from anyio.abc import TaskGroup

from agent.node import Node, open_node
from agent.pushes import Pushes
from agent.settings import AgentSettings
from agent.stat_socket import stat_socket
from forebay.proxy.agents import Surroundings, agent_settings, gateway_settings
from forebay.proxy.called_at import called_at
from forebay.proxy.instances import Instances
from forebay.proxy.learning import learn_model_until_signal
from forebay.proxy.local_store import open_local_store
from forebay.proxy.ranks_up import until_ranks_are_up
from forebay.proxy.settings import ProxySettings
from forebay.proxy.site import ProxySite
from gateway.settings import GatewaySettings
from scheduler.draining import pool_names
from scheduler.errors import StoreUnavailableError
from scheduler.messages import Role
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from scheduler.store_url import shown_url

log = logging.getLogger(__name__)


class Behind(NamedTuple):
    """It runs; `gateway` is what the gateways are to be."""

    gateway: GatewaySettings
    site: ProxySite
    tasks: TaskGroup
    until_up: Callable[[], Awaitable[None]]
    said: str
    """What the ready line says of model, ranks and store."""

    def announcing(self, ready: Callable[[str], None]) -> Callable[[str], None]:
        """To be called with what the gateways say when they listen: `ready` gets one line once there are ranks, too."""

        async def announce(where: str) -> None:
            await self.until_up()
            ready(f"proxy ready: {where}, {self.said}")

        def listens(line: str) -> None:
            self.tasks.start_soon(announce, line.partition("ready: ")[2], name="announce")

        return listens


@asynccontextmanager
async def opened_behind(settings: ProxySettings) -> AsyncIterator[Behind | None]:
    """All of it; None where a signal came before the model was known.

    Raises StoreUrlError, LocalStoreError, StatSocketError and, perhaps in an exception group, StoreRejectedError.
    """
    async with AsyncExitStack() as stack:
        url, store_is = settings.redis, f"{shown_url(settings.redis)}, and proxies on it share their load"
        if not url:
            url, store_is = await stack.enter_async_context(open_local_store(in_process=settings.one_process))
        store = await stack.enter_async_context(open_store(url))
        await _ask_once(store)
        surroundings = await _surroundings(settings, url)
        if surroundings is None:
            yield None
            return
        pushes = Pushes(stack.enter_context(stat_socket(settings.stat_socket)))
        nodes = {
            role: await stack.enter_async_context(
                _node(agent_settings(settings, role, targets, surroundings), store, pushes)
            )
            for role, targets in settings.targets.items()
        }
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(pushes.run, partial(_fold, nodes), name="fold what is pushed")
        pool = surroundings.pool_of(settings)
        instances = Instances(nodes, settings.targets, store, pool, tasks)
        counts = " and ".join(f"{len(targets)} {role}" for role, targets in settings.targets.items())
        yield Behind(
            gateway_settings(settings, surroundings),
            ProxySite(settings.serves_as, instances, store, pool),
            tasks,
            partial(until_ranks_are_up, store, pool, instances.roles),
            f"model {surroundings.model}, {counts} ranks; store: {store_is}",
        )
        tasks.cancel_scope.cancel()


async def _ask_once(store: Store) -> None:
    """A store that will not have us is told before anything is started. Raises StoreRejectedError."""
    try:
        await pool_names(store)
    except StoreUnavailableError as error:
        log.warning("%s; going on, and serving as soon as it does", error)


async def _surroundings(settings: ProxySettings, url: str) -> Surroundings | None:
    """What is to be found out; None where a signal came before that."""
    node = f"{socket.gethostname()}-proxy-{settings.port or os.getpid()}"
    known = Surroundings(
        redis=url,
        model=settings.model or "unknown",
        rank_api_key=settings.rank_api_key,
        node=node,
        advertise=await called_at(settings),
    )
    if settings.model:
        return known
    targets = [target for each in settings.targets.values() for target in each]
    model = await learn_model_until_signal(
        targets, agent_settings(settings, settings.serves_as.roles[0], targets, known)
    )
    return msgspec.structs.replace(known, model=model) if model else None


def _node(own: AgentSettings, store: Store, pushes: Pushes) -> AbstractAsyncContextManager[Node]:
    reporter = Reporter(store, pool=own.pool, node=own.node_name, settings=SchedulerSettings())
    return open_node(own, reporter, log.info, pushes)


def _fold(nodes: Mapping[Role, Node]) -> None:
    for node in nodes.values():
        node.fold_pushes()
