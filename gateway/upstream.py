"""One request to one rank: connect, send, read the answer as it comes, close.

This is the only module that speaks to ranks, by `gateway/rank_http/`. A request is tried once: whether to try again is
not decided here. Leaving an answer before its end closes the connection, which is how vLLM learns to abort.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, nullcontext
from functools import cached_property
from time import monotonic

from gateway.headers import Headers, first
from gateway.rank_http import request_head
from gateway.rank_http.chunks import payload_of
from gateway.rank_http.connection import Connection
from gateway.rank_http.connections import Connections
from gateway.rank_http.deadlines import Deadlines
from gateway.rank_http.exchange import Exchange
from gateway.rank_http.head import SWITCHING, Head
from gateway.rank_http.sending import Sending
from gateway.rank_http.sink import Sink
from gateway.rank_http.switching import Switching, require_switch
from gateway.rank_http.target import Origin, target_of

__all__ = ["Deadlines", "RankAnswer", "RankTunnel", "Sink", "Upstream", "payload_of"]


class RankAnswer:
    """A rank's answer whose head has arrived."""

    def __init__(self, head: Head, exchange: Exchange) -> None:
        self.status = head.status
        self.headers = head.headers
        self._exchange = exchange
        self.on_first_token: Callable[[], None] = _nothing
        """To be called by who reads a stream and finds its first token."""

    @cached_property
    def content_type(self) -> bytes:
        """What the body says it is, in lower case; empty where it does not say."""
        return (first(((name.lower(), value) for name, value in self.headers), b"content-type") or b"").lower()

    @property
    def is_event_stream(self) -> bool:
        """Whether the body is a stream of server-sent events."""
        return self.content_type.startswith(b"text/event-stream")

    @property
    def awaited_since_s(self) -> float | None:
        """Since when its next bytes are waited for, on the monotonic clock; None while nobody waits."""
        return self._exchange.awaited_since_s

    async def read(self) -> bytes:
        """The next bytes of the body, b"" at its end. Raises RankFailedError, RankTimeoutError."""
        return await self._exchange.read()

    async def pour(self, sink: Sink) -> None:
        """Give all of the body that is still to come to a sink, as it comes; returns at its end.

        Raises RankFailedError, RankTimeoutError, and what the sink raises, which closes the connection.
        """
        await self._exchange.pour(sink)

    def pause(self) -> None:
        """Take nothing more from the rank until `resume`; its silence does not count meanwhile."""
        self._exchange.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._exchange.resume()


class RankTunnel(RankAnswer):
    """A rank that has changed the protocol: `read` has all that it sends until it closes its side."""

    def __init__(self, head: Head, exchange: Switching) -> None:
        """Raises RankFailedError unless the protocol is WebSocket."""
        require_switch(head)
        super().__init__(head, exchange)
        self._switching = exchange
        self._heard_s = monotonic()

    @property
    def awaited_since_s(self) -> float | None:
        """As `RankAnswer.awaited_since_s`, whatever was sent to the rank meanwhile."""
        return None if self._exchange.awaited_since_s is None else self._heard_s

    async def read(self) -> bytes:
        """As `RankAnswer.read`; raises RankTimeoutError when nothing passes in either direction."""
        data = await super().read()
        self._heard_s = monotonic()
        return data

    async def send(self, data: bytes) -> None:
        """Send bytes as they are, and wait until they have left."""
        await self._switching.send(data)

    def end(self) -> None:
        """Nothing more will be sent; the rank may still send."""
        self._switching.end()


class Upstream:
    """The connections of one gateway to all its ranks, at most `max_connections`; to be closed with `aclose`.

    `tls` verifies ranks on https, by the system's authorities unless given; `hosts` are those that may be ranks (any).
    """

    def __init__(
        self, deadlines: Deadlines, max_connections: int, tls: ssl.SSLContext | None = None, hosts: Iterable[str] = ()
    ) -> None:
        self._deadlines = deadlines
        self._connections = Connections(deadlines, max_connections, tls, hosts)
        self.open_requests = 0

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connections.aclose()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes],
        on_sent: Callable[[], None],
        *,
        may_switch: bool = False,
    ) -> AsyncGenerator[RankAnswer, None]:
        """Send a request and yield the answer once its head is there; leaving closes it, whatever happened.

        A body in parts is sent as it comes, in chunks unless the headers have its length; who made the iterator closes
        it. `on_sent` is called when the last byte of the request has left. Where the headers ask for WebSocket, the
        rank `may_switch` to it: the answer is a RankTunnel then. Raises RankUnreachableError,
        RankFailedError, RankTimeoutError, TooManyConnectionsError, InvalidRequestError, and what a body's iterator
        raises.
        """
        began_s = monotonic()
        target = target_of(url)
        length = request_head.length_of(headers, body)
        head = request_head.head_of(method, target, headers, length)
        whole = body if isinstance(body, bytes) else None
        kind = Switching if may_switch else Exchange

        def start(connection: Connection) -> Exchange:
            exchange = connection.exchange = kind(connection, method, self._deadlines, began_s)
            connection.send(head, whole, on_sent)
            return exchange

        self.open_requests += 1
        try:
            async with self._connections.place():
                connection, exchange = await self._started(target.origin, start)
                sending = nullcontext() if isinstance(body, bytes) else Sending(connection, exchange, body, length)
                try:
                    async with sending:
                        yield _answer_of(await exchange.head(), exchange)
                finally:
                    exchange.close()
                    if exchange.leaves_connection and connection.is_sent:
                        self._connections.give_back(connection)
                    else:
                        connection.abort()
        finally:
            self.open_requests -= 1

    async def _started(self, origin: Origin, start: Callable[[Connection], Exchange]) -> tuple[Connection, Exchange]:
        """Begin on a kept connection, or on a new one if nothing of the request could be sent on any of those."""
        while (connection := self._connections.kept(origin)) is not None:
            exchange = start(connection)
            if not connection.is_closing:
                return connection, exchange
            exchange.close()
        connection = await self._connections.opened(origin)
        exchange = start(connection)
        if connection.is_closing:
            exchange.lost(None)
        return connection, exchange


def _nothing() -> None:
    """Nobody has asked to be told."""


def _answer_of(head: Head, exchange: Exchange) -> RankAnswer:
    if head.status != SWITCHING:
        return RankAnswer(head, exchange)
    assert isinstance(exchange, Switching), "no other exchange lets its rank change the protocol"
    return RankTunnel(head, exchange)
