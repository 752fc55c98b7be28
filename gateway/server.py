"""A gateway as a process: from its settings to its last open stream."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from signal import SIGINT, SIGTERM
from typing import cast
from uuid import uuid4

import anyio
import uvicorn

from gateway import api_key_sources
from gateway.app import create_app
from gateway.client_http.protocol import ClientProtocol
from gateway.connectors import CONNECTORS
from gateway.gateway import Gateway
from gateway.listening import listening, name_of, reachable_at
from gateway.settings import GatewaySettings
from gateway.shared_listener import SharedListener
from gateway.tls import ServerCertificate
from gateway.upstream import Deadlines, Upstream
from scheduler.limits import SharedLimits
from scheduler.pools import Pools
from scheduler.rank_tls import rank_context
from scheduler.store import open_store

log = logging.getLogger(__name__)

LAST_WORDS_S = 5
"""How long requests that were cut may take to tell their clients."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: when and how a gateway stops is decided here."""

    def __init__(self, config: uvicorn.Config, certificate: ServerCertificate | None = None) -> None:
        super().__init__(config)
        self.up = anyio.Event()
        self._certificate = certificate

    async def keep_certificate(self) -> None:
        """Show clients the newest certificate until cancelled."""
        if self._certificate:
            await self._certificate.run()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: GatewaySettings, ready: Callable[[str], None]) -> None:
    """Serve until cancelled, SIGTERM or SIGINT; `ready` gets one line, once it listens and the store has been reached.

    A signal makes /readyz answer 503. After SIGTERM connections are taken for `lame_duck_ms` more, so that whoever
    sends clients here can see it; then the listening socket closes. Requests run for `drain_s` from the signal on, or
    until a second one; the rest is cut and everything given back. Cancelling cuts at once.
    Raises ListenError, StoreUrlError, TlsFileError, ApiKeyFileError.
    """
    async with open_gateway(settings, lambda: listening(settings.host, settings.port)) as (gateway, listener):
        with ExitStack() as stack:
            of_ranks = [stack.enter_context(listening(settings.host, port)) for port in gateway.rank_ports.ports]
            await serve_http(gateway, [listener, *of_ranks], ready)


@asynccontextmanager
async def open_gateway(
    settings: GatewaySettings, listen: Callable[[], AbstractContextManager[socket.socket]]
) -> AsyncIterator[tuple[Gateway, socket.socket]]:
    """A gateway that keeps its pools, and the socket that `listen` opens for it.

    Raises StoreUrlError, ApiKeyFileError.
    """
    async with open_store(settings.redis) as store, open_upstream(settings) as upstream:
        with listen() as listener:
            life, address = uuid4().hex[:8], settings.advertise or reachable_at(listener)
            pools = Pools(
                store,
                life=life,
                address=address,
                settings=settings.scheduler,
                connectors=frozenset(CONNECTORS),
            )
            started_s = int(datetime.now(tz=UTC).timestamp())
            limits = SharedLimits(store, gateway=pools.gateway, settings=settings.scheduler, pools=pools.names)
            gateway = Gateway(settings, pools, upstream, limits=limits, name=pools.gateway, started_s=started_s)
            at = (reachable_at(listener), address)
            kept = {"pools": pools.run, **dict(api_key_sources.opened(gateway, store))}
            async with anyio.create_task_group() as tasks:
                for name, run in kept.items():
                    tasks.start_soon(run, name=name)
                tasks.start_soon(pools.addresses.keep, life, at, name="address")
                yield gateway, listener
                tasks.cancel_scope.cancel()


@asynccontextmanager
async def open_upstream(settings: GatewaySettings) -> AsyncIterator[Upstream]:
    """The connections to ranks that the settings ask for. Raises TlsFileError."""
    deadlines = Deadlines(settings.connect_ms / 1000, settings.first_byte_ms / 1000, settings.idle_ms / 1000)
    tls = rank_context(settings.rank_ca, settings.rank_cert, settings.rank_key)
    upstream = Upstream(deadlines, settings.rank_connections, tls, settings.allow_ranks)
    try:
        yield upstream
    finally:
        with anyio.CancelScope(shield=True):
            await upstream.aclose()


async def serve_http(
    gateway: Gateway, listeners: list[socket.socket], ready: Callable[[str], None], shared: SharedListener | None = None
) -> None:
    """Serve one gateway on bound sockets until a signal or cancellation, as `serve` says; the first names it.

    If the only one is `shared` with other workers, its connections are accepted in turn with them. Raises TlsFileError.
    """
    server, shared = _server(gateway), shared or _tls_listener(gateway.settings, listeners)
    accepting, ended = anyio.CancelScope(), anyio.Event()

    async def run() -> None:
        # It ends by being told to, so that what is open is told as well.
        with anyio.CancelScope(shield=True):
            try:
                await server.serve([] if shared else listeners)
            finally:
                ended.set()

    async def accept(shared: SharedListener) -> None:
        with accepting:
            await server.up.wait()
            await shared.accept_for(server)

    def stop_listening() -> None:
        accepting.cancel()
        server.should_exit = True

    async def announce() -> None:
        await server.up.wait()
        await gateway.readiness.run()
        address = f"{gateway.settings.scheme}://{name_of(listeners[0])}"
        ready(f"gateway {gateway.name} ready: {address}{gateway.rank_ports.told}")

    with anyio.open_signal_receiver(SIGTERM, SIGINT) as signals:
        async with gateway.errands.open(), anyio.create_task_group() as tasks:
            if shared:
                tasks.start_soon(accept, shared, name="accept")
            tasks.start_soon(run, name="http server")
            tasks.start_soon(announce, name="announce")
            tasks.start_soon(server.keep_certificate, name="certificate")
            tasks.start_soon(gateway.lost_ranks.run, name="lost ranks")
            tasks.start_soon(gateway.kept.run, name="kept responses")
            try:
                await _drain(gateway, signals, await anext(signals), stop_listening)
            finally:
                stop_listening()
                gateway.cut_all()
                with anyio.CancelScope(shield=True):
                    await ended.wait()
            tasks.cancel_scope.cancel()


def _tls_listener(settings: GatewaySettings, listeners: list[socket.socket]) -> SharedListener | None:
    """With TLS the connections of a single process are accepted as workers accept theirs: with limits of ours."""
    return SharedListener.alone(listeners, close_within_s=settings.client_idle_ms / 1000) if settings.tls_cert else None


def _server(gateway: Gateway) -> _Server:
    certificate = ServerCertificate.of(gateway.settings)
    client_idle_s = gateway.settings.client_idle_ms / 1000
    protocol = partial(ClientProtocol, gateway.metrics.refused_connections, client_idle_s)
    return _Server(
        uvicorn.Config(
            create_app(gateway),
            # uvicorn calls it as it would call the class.
            http=cast("type[asyncio.Protocol]", protocol),
            ws="none",
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level=logging.WARNING,
            timeout_graceful_shutdown=math.ceil(gateway.settings.drain_s) + LAST_WORDS_S,
            ssl_context_factory=(lambda *_: certificate.context) if certificate else None,
        ),
        certificate,
    )


async def _drain(
    gateway: Gateway, signals: AsyncIterator[int], received: int, stop_listening: Callable[[], None]
) -> None:
    """Let requests run on after a signal, for as long as they may or until the next one."""
    gateway.stopping = True
    drain_s = gateway.settings.drain_s
    log.info("stopping; requests that may run on for %g s: %d", drain_s, gateway.alive)

    async def end_on_next() -> None:
        await anext(signals)
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.cancel_scope.deadline = anyio.current_time() + drain_s
        tasks.start_soon(end_on_next, name="second signal")
        if received == SIGTERM:
            await anyio.sleep(gateway.settings.lame_duck_ms / 1000)
        await gateway.metaserver.close()  # a decode rank that finds nobody listening would wait for ever
        stop_listening()
        await gateway.until_idle()
        tasks.cancel_scope.cancel()
