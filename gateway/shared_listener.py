"""A listening socket that several workers accept from, so that each gets as many connections as the others.

One socket has one queue: whoever lives takes what waits in it, and a worker that dies takes nothing along. Who accepts
is not left to chance: a worker that has more connections than another leaves a new one to it for a moment.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import anyio
import uvicorn

from gateway.connection_counts import ConnectionCounts, create_shared_memory

log = logging.getLogger(__name__)

BACKLOG = 2048
"""How many connections may wait to be accepted; uvicorn's own default."""

LEAVE_TO_OTHERS_S = 0.002
"""How long a connection is left to a worker that has fewer. Its loop comes round more often, unless it is busy."""

HANDSHAKE_S = 5.0
"""How long a client may take to agree on TLS."""

CLOSE_S = 60.0
"""How long a client may take to read what lies ready when TLS is closed."""

RETRY_S = 0.5
"""How long accepting rests when the system has no descriptor or memory for a connection."""


Begin = Callable[[socket.socket], Coroutine[None, None, None]]
"""Has a connection served."""


class SharedListener:
    """One worker's end of the socket; a process that is alone may have several."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        counts: ConnectionCounts,
        worker: int,
        *,
        close_within_s: float = CLOSE_S,
    ) -> None:
        self._listeners = listeners
        self._counts = counts
        self._worker = worker
        self._close_within_s = close_within_s

    @classmethod
    def alone(cls, listeners: Sequence[socket.socket], *, close_within_s: float) -> SharedListener:
        """That of a process that shares its sockets with no other."""
        for listener in listeners:
            listener.listen(BACKLOG)
            listener.setblocking(False)
        return cls(listeners, ConnectionCounts(create_shared_memory(1), 1), 0, close_within_s=close_within_s)

    async def accept_for(self, server: uvicorn.Server) -> None:
        """Give a server that runs its connections, until cancelled; the sockets are closed then."""
        connections = server.server_state.connections = _CountedConnections(self._counts, self._worker)
        # uvicorn would call it so.
        protocol_class: Callable[..., asyncio.Protocol] = server.config.http_protocol_class
        make_protocol = partial(protocol_class, config=server.config, server_state=server.server_state, app_state={})
        connections.tell()
        begin = partial(self._begin, make_protocol, server.config.ssl)
        try:
            async with anyio.create_task_group() as tasks:
                for listener in self._listeners:
                    tasks.start_soon(self._accept_on, listener, begin, server.config.ssl is not None, name="accept")
        finally:
            connections.leave()

    async def _accept_on(self, listener: socket.socket, begin: Begin, shakes_hands: bool) -> None:
        async with anyio.create_task_group() as handshakes:
            with listener:
                while True:
                    accepted = await self._accept_one(listener)
                    if accepted is not None and shakes_hands:
                        handshakes.start_soon(begin, accepted, name="handshake")
                    elif accepted is not None:
                        await begin(accepted)

    async def _accept_one(self, listener: socket.socket) -> socket.socket | None:
        await anyio.wait_readable(listener)
        if not self._counts.is_turn_of(self._worker):
            await anyio.sleep(LEAVE_TO_OTHERS_S)
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        except OSError as error:
            log.warning("cannot accept connections: %s", error)
            await anyio.sleep(RETRY_S)
            return None
        connection.setblocking(False)
        return connection

    async def _begin(
        self, make_protocol: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None, connection: socket.socket
    ) -> None:
        """Have it served. With TLS that takes a handshake, which is let end when no more are accepted."""
        limits = {"ssl_handshake_timeout": HANDSHAKE_S, "ssl_shutdown_timeout": self._close_within_s} if tls else {}
        with anyio.CancelScope(shield=tls is not None):
            try:
                await asyncio.get_running_loop().connect_accepted_socket(make_protocol, connection, ssl=tls, **limits)
            except OSError:
                connection.close()


class _CountedConnections(set[Any]):
    """The connections of a uvicorn server; the other workers are told how many there are."""

    def __init__(self, counts: ConnectionCounts, worker: int) -> None:
        super().__init__()
        self._counts = counts
        self._worker = worker
        self._has_left = False

    def add(self, connection: Any) -> None:
        super().add(connection)
        self.tell()

    def discard(self, connection: Any) -> None:
        super().discard(connection)
        self.tell()

    def tell(self) -> None:
        if not self._has_left:
            self._counts.tell(self._worker, len(self))

    def leave(self) -> None:
        self._has_left = True
        self._counts.leave(self._worker)
