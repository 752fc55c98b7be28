"""A listening socket that several workers accept from, so that each gets as many connections as the others.

One socket has one queue: whoever lives takes what waits in it, and a worker that dies takes nothing along. Who accepts
is not left to chance: a worker that has more connections than another leaves a new one to it for a moment.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import uvicorn

from gateway.connection_counts import ConnectionCounts

log = logging.getLogger(__name__)

BACKLOG = 2048
"""How many connections may wait to be accepted; uvicorn's own default."""

LEAVE_TO_OTHERS_S = 0.002
"""How long a connection is left to a worker that has fewer. Its loop comes round more often, unless it is busy."""

RETRY_S = 0.5
"""How long accepting rests when the system has no descriptor or memory for a connection."""


class SharedListener:
    """One worker's end of the socket."""

    def __init__(self, listener: socket.socket, counts: ConnectionCounts, worker: int) -> None:
        self._listener = listener
        self._counts = counts
        self._worker = worker

    async def accept_for(self, server: uvicorn.Server) -> None:
        """Give a server that runs its connections, until cancelled; the socket is closed then."""
        connections = server.server_state.connections = _CountedConnections(self._counts, self._worker)
        # uvicorn would call it so.
        protocol_class: Callable[..., asyncio.Protocol] = server.config.http_protocol_class
        make_protocol = partial(protocol_class, config=server.config, server_state=server.server_state, app_state={})
        connections.tell()
        with self._listener:
            try:
                while True:
                    await self._accept_one(make_protocol)
            finally:
                connections.leave()

    async def _accept_one(self, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        await anyio.wait_readable(self._listener)
        if not self._counts.is_turn_of(self._worker):
            await anyio.sleep(LEAVE_TO_OTHERS_S)
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            log.warning("cannot accept connections: %s", error)
            await anyio.sleep(RETRY_S)
            return
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(make_protocol, connection)
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
