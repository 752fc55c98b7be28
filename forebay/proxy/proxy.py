"""`forebay proxy` as a process: its store, its agents and its gateway, or the workers that are its gateways."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from signal import SIGINT, SIGTERM
from typing import NamedTuple

import anyio
import msgspec
from anyio.abc import TaskGroup

from agent.node import Node, open_node
from agent.settings import AgentSettings
from forebay.proxy.agents import Surroundings, agent_settings, gateway_settings
from forebay.proxy.instances import LOOK_S, Instances
from forebay.proxy.learning import learn_model
from forebay.proxy.local_store import open_local_store
from forebay.proxy.settings import ProxySettings
from forebay.proxy.site import ProxySite
from forebay.settings import GatewayCommandSettings
from forebay.supervise import Household
from forebay.workers import serve_by_workers
from gateway.listening import listening, name_of
from gateway.server import open_gateway, serve_http
from scheduler.draining import read_pool
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.messages import RankCard, RankState, Role
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from scheduler.store_url import shown_url

log = logging.getLogger(__name__)


class Running(NamedTuple):
    """What stands behind the gateways."""

    surroundings: Surroundings
    site: ProxySite
    tasks: TaskGroup
    ranks_up: anyio.Event
    said: str
    """What the ready line says of model, ranks and store."""

    def announcing(self, ready: Callable[[str], None], where: str) -> Callable[[str], None]:
        """To be called when the gateways listen: `ready` gets one line once there are ranks, too."""

        async def announce() -> None:
            await self.ranks_up.wait()
            ready(f"proxy ready: {where}, {self.said}")

        def listens(_: str) -> None:
            self.tasks.start_soon(announce, name="announce")

        return listens


async def serve(settings: ProxySettings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM, SIGINT or cancellation, as `gateway.server.serve` does.

    `ready` gets one line, once there is a rank of each role. Raises ListenError, StoreUrlError, LocalStoreError.
    """
    async with _open(settings) as running:
        if running is None:
            return
        own = gateway_settings(settings, running.surroundings)
        async with open_gateway(own, lambda: listening(own.host, own.port)) as (gateway, listener):
            gateway.site = running.site
            await serve_http(gateway, [listener], running.announcing(ready, f"http://{name_of(listener)}"))
        running.tasks.cancel_scope.cancel()


async def serve_workers(settings: ProxySettings, ready: Callable[[str], None], household: Household) -> None:
    """The same by several gateways on one port. Raises what `serve` raises, CannotStartError and ChildEndedError."""
    async with _open(settings) as running:
        if running is None:
            return
        command = GatewayCommandSettings(
            gateway=gateway_settings(settings, running.surroundings), workers=settings.workers
        )
        where = f"{settings.workers} workers on http://{settings.host}:{settings.port}"
        announce = running.announcing(ready, where)
        await serve_by_workers(command, household, site=running.site, announce=announce)
        running.tasks.cancel_scope.cancel()


@asynccontextmanager
async def _open(settings: ProxySettings) -> AsyncIterator[Running | None]:
    """The store, the model and the agents; None where a signal came before the model was known."""
    _check_port(settings)
    async with AsyncExitStack() as stack:
        url, store_is = settings.redis, f"{shown_url(settings.redis)}, and proxies on it share their load"
        if not url:
            url, store_is = await stack.enter_async_context(open_local_store(in_process=settings.one_process))
        store = await stack.enter_async_context(open_store(url))
        surroundings = await _surroundings(settings, url)
        if surroundings is None:
            yield None
            return
        pool = surroundings.pool_of(settings)
        nodes = {
            role: await stack.enter_async_context(_node(agent_settings(settings, role, targets, surroundings), store))
            for role, targets in settings.targets.items()
        }
        tasks = await stack.enter_async_context(anyio.create_task_group())
        instances = Instances(nodes, settings.targets, store, pool, tasks)
        counts = " and ".join(f"{len(targets)} {role}" for role, targets in settings.targets.items())
        said = f"model {surroundings.model}, {counts} ranks; store: {store_is}"
        site = ProxySite(settings.serves_as, instances, store, pool)
        running = Running(surroundings, site, tasks, anyio.Event(), said)
        tasks.start_soon(_until_ranks_are_up, store, pool, instances.roles, running.ranks_up, name="ranks up")
        yield running


def _check_port(settings: ProxySettings) -> None:
    """A port in use is told before anything is started. Raises ListenError."""
    with listening(settings.host, settings.port):
        pass


def _node(own: AgentSettings, store: Store) -> AbstractAsyncContextManager[Node]:
    reporter = Reporter(store, pool=own.pool, node=own.node_name, settings=SchedulerSettings())
    return open_node(own, reporter, log.info)


async def _surroundings(settings: ProxySettings, url: str) -> Surroundings | None:
    """What is to be found out; None where a signal came before that."""
    node = f"{socket.gethostname()}-proxy-{settings.port}"
    found = Surroundings(redis=url, model=settings.model or "unknown", rank_api_key=settings.rank_api_key, node=node)
    if settings.model:
        return found
    targets = [target for each in settings.targets.values() for target in each]
    asking = agent_settings(settings, settings.serves_as.roles[0], targets, found)
    model = ""
    async with anyio.create_task_group() as tasks:

        async def end_on_signal() -> None:
            with anyio.open_signal_receiver(SIGTERM, SIGINT) as signals:
                await anext(signals)
                tasks.cancel_scope.cancel()

        tasks.start_soon(end_on_signal, name="signals")
        model = await learn_model(targets, asking)
        tasks.cancel_scope.cancel()
    return msgspec.structs.replace(found, model=model) if model else None


def _warn_of_lengths(cards: Sequence[RankCard]) -> None:
    """Buckets by length may have stood before ranks of different ones."""
    lengths = sorted({card.max_model_len for card in cards})
    if len(lengths) > 1:
        log.warning(
            "ranks have --max-model-len from %d to %d; a request is placed by load alone, and a rank for which it is "
            "too long refuses it: put such ranks behind proxies of their own",
            lengths[0], lengths[-1],
        )  # fmt: skip


async def _until_ranks_are_up(store: Store, pool: str, roles: Sequence[Role], up: anyio.Event) -> None:
    """Set `up` once the pool has a rank of each role that requests may go to."""
    while True:
        try:
            view, _ = await read_pool(store, pool, SchedulerSettings())
        except (StoreUnavailableError, StoreRejectedError) as error:
            log.debug("%s", error)
        else:
            there = [rank.card for rank in view.ranks.values() if rank.seen.state is RankState.UP]
            if {card.role for card in there}.issuperset(roles):
                _warn_of_lengths(there)
                up.set()
                return
        await anyio.sleep(LOOK_S)
