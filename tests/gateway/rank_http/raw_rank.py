"""A rank that is a socket: what comes and goes on it is the test's."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from gateway.upstream import Deadlines, Upstream
from tests.namespace import Namespace
from tests.ports import bound

DEADLINES = Deadlines(connect_s=5.0, first_byte_s=20.0, idle_s=20.0)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
PATIENCE_S = 20.0


class Peer:
    """The rank's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """A request's head."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def until_closed(self) -> bytes:
        """What still comes until the other side closes, however it does."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""


Script = Callable[[Peer], Awaitable[object]]


class RawRank:
    """`connections`: how many there were; `open`: how many there are."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connections = 0
        self.open = 0


def answering(*answers: bytes) -> Script:
    """Answers a request with each of these, on one connection."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.send(answer)
        await peer.until_closed()

    return script


@asynccontextmanager
async def raw_rank(
    script: Script, *, receive_bytes: int | None = None, place: Namespace | None = None
) -> AsyncIterator[RawRank]:
    """A rank that runs `script` on each connection and closes it then."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rank.connections += 1
        rank.open += 1
        try:
            await script(Peer(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the gateway closed first
        finally:
            rank.open -= 1
            writer.close()

    listener = place.bound(0) if place else bound("127.0.0.1", 0)
    if receive_bytes is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    rank = RawRank("http://{}:{}".format(*listener.getsockname()))
    server = await asyncio.start_server(handle, sock=listener, limit=receive_bytes or 65_536)
    async with asyncio.timeout(PATIENCE_S):
        try:
            yield rank
        finally:
            server.close()


@asynccontextmanager
async def open_upstream(
    deadlines: Deadlines = DEADLINES,
    max_connections: int = 100,
    tls: ssl.SSLContext | None = None,
    hosts: Sequence[str] = (),
) -> AsyncIterator[Upstream]:
    upstream = Upstream(deadlines, max_connections, tls, hosts)
    try:
        yield upstream
    finally:
        await upstream.aclose()


async def ask(upstream: Upstream, url: str, method: str = "POST", body: bytes = b"{}") -> tuple[int, bytes]:
    """One request; its answer's status and body."""
    async with upstream.request(method, url, [], body, lambda: None) as answer:
        parts = []
        while part := await answer.read():
            parts.append(part)
        return answer.status, b"".join(parts)
