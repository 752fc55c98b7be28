"""One of several gateway processes that share a port, as its supervisor started it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import msgspec

from gateway.connection_counts import ConnectionCounts
from gateway.errors import InternalError
from gateway.families import families_of
from gateway.gateway import Gateway
from gateway.link import Link, open_link
from gateway.linked_site import LinkedSite
from gateway.metaserver_calls import Calls
from gateway.server import open_gateway, serve_http
from gateway.settings import GatewaySettings
from gateway.shared_listener import SharedListener
from gateway.sibling_calls import serve_siblings

PAGE_WITHIN_S = 5.0
"""How long the supervisor may take to a page: longer than it waits for the workers."""


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway's options, which of the workers it is, and the descriptors it inherits.

    `has_site`: its supervisor answers for the site (site.py).
    """

    gateway: GatewaySettings
    worker: int
    workers: int
    listener_fd: int
    counts_fd: int
    link_fd: int
    has_site: bool = False


async def serve_worker(settings: WorkerSettings, _: Callable[[str], None]) -> None:
    """Serve as `gateway.server.serve` does; the supervisor is told when it is ready, and answers for /metrics.

    Raises LinkClosedError when the supervisor has ended.
    """
    async with (
        open_gateway(settings.gateway, lambda: _inherited(settings.listener_fd)) as (gateway, listener),
        open_link(socket.socket(fileno=settings.link_fd)) as link,
        anyio.create_task_group() as tasks,
    ):
        gateway.metrics_page = lambda: _page_of_all(link)
        gateway.site = LinkedSite(link) if settings.has_site else None
        tasks.start_soon(link.run, lambda _: _counted_by(gateway), name="link")
        tasks.start_soon(serve_siblings, gateway.metaserver.life, Calls(gateway).take, name="calls")
        counts = ConnectionCounts(settings.counts_fd, settings.workers)
        close_within_s = settings.gateway.client_idle_ms / 1000
        shared = SharedListener([listener], counts, settings.worker, close_within_s=close_within_s)
        await serve_http(gateway, [listener], link.ready, shared)
        tasks.cancel_scope.cancel()


@contextmanager
def _inherited(listener_fd: int) -> Iterator[socket.socket]:
    with socket.socket(fileno=listener_fd) as listener:
        yield listener


async def _page_of_all(link: Link) -> bytes:
    with anyio.move_on_after(PAGE_WITHIN_S):
        return await link.ask()
    raise InternalError("The supervisor of the workers does not answer")


async def _counted_by(gateway: Gateway) -> bytes:
    return msgspec.msgpack.encode(families_of(gateway.metrics.registry.collect()))
