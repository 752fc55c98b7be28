"""A rank that speaks WebSocket on one path, by a library of its own, and a client of it through a gateway."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve

from tests.gateway.running import DEADLINE_S, Served

REALTIME = "/v1/realtime"

Talk = Callable[[ServerConnection], Awaitable[None]]


class WebSocketRank:
    """`seen`: every connection that got as far as its handshake."""

    def __init__(self, server: Server, seen: list[ServerConnection]) -> None:
        self.server = server
        self.seen = seen
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    @property
    def open_connections(self) -> int:
        return len(self.server.connections)


async def echoes(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@asynccontextmanager
async def websocket_rank(talk: Talk = echoes, **options: Any) -> AsyncIterator[WebSocketRank]:
    """A rank that talks so on each connection."""
    seen: list[ServerConnection] = []

    async def handle(connection: ServerConnection) -> None:
        seen.append(connection)
        await talk(connection)

    async with serve(handle, "127.0.0.1", 0, max_size=None, **options) as server:
        yield WebSocketRank(server, seen)


def connecting(served: Served, query: str = "?model=sim", **options: Any) -> connect:
    """A client's connection through the gateway, to be entered."""
    url = f"ws://127.0.0.1:{served.port}{REALTIME}{query}"
    return connect(url, proxy=None, open_timeout=DEADLINE_S, max_size=None, **options)


def reset(transport: asyncio.WriteTransport) -> None:
    """Vanish: the other side gets a reset, and no goodbye."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def sent(connection: ClientConnection, message: str | bytes) -> str | bytes:
    """What comes back for a message."""
    await connection.send(message)
    return await connection.recv()
