"""A small HTTP/1.1 server protocol.

It knows no routes: a handler gets each request together with its `Exchange` and answers when it likes, from callbacks;
no task is started per request. Requests on one connection are answered one after another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final, cast

import httptools

from simulator.exchange import Exchange, Request

_HIGH_WATER_BYTES: Final = 256 * 1024
_PIPELINE_MOST: Final = 64
_INVALID: Final = b"Invalid HTTP request received."

Handler = Callable[[Request, Exchange], None]


class Connections:
    """The open connections of one server, what they have in common, and the clock for their date header.

    Once `closing`, none gets another answer.
    """

    def __init__(self, keep_alive_s: float) -> None:
        self.keep_alive_s = keep_alive_s
        self.open: set[HttpProtocol] = set()
        self.closing = False
        self._all_closed: asyncio.Event | None = None
        self._date_at_s = -1.0
        self._date = ""

    def date(self, now_s: float) -> str:
        """The date header's value, formatted at most once a second."""
        if now_s - self._date_at_s >= 1 or self._date_at_s < 0:
            self._date_at_s = now_s
            self._date = format_datetime(datetime.now(UTC), usegmt=True)
        return self._date

    def abort_all(self) -> None:
        """Close every connection at once."""
        for protocol in list(self.open):
            protocol.abort()

    async def close_all(self, within_s: float, *, answering: bool = True) -> None:
        """Close every connection once its bytes are out; those still `answering` too, or wait for them, so long."""
        self.closing = True
        for protocol in list(self.open):
            if answering or protocol.idle:
                protocol.close()
        if self.open:
            self._all_closed = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), within_s)

    def lost(self, protocol: HttpProtocol) -> None:
        """A connection has ended."""
        self.open.discard(protocol)
        if not self.open and self._all_closed is not None:
            self._all_closed.set()


class HttpProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, handler: Handler, connections: Connections) -> None:
        self.paused = False
        self._handler = handler
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._queue: deque[Request] = deque()
        self._exchange: Exchange | None = None
        self._reading = True
        self._serving = False
        self._idle: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no answer is awaited."""
        return self._exchange is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start serving."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._connections.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: tell whoever is answering it."""
        self._connections.lost(self)
        self._transport = None
        self._queue.clear()
        self._end_idling()
        exchange, self._exchange = self._exchange, None
        if exchange is not None and not exchange.closed:
            exchange.closed = True
            exchange.on_close()

    def data_received(self, data: bytes) -> None:
        """Parse; what is no HTTP is answered like uvicorn does, and the connection closed."""
        self._end_idling()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # the offer is passed over, but the parser can read nothing after it
            self._queue[-1].keep_alive = False
            self._serve_next()
        except httptools.HttpParserError:
            self.write(
                b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(_INVALID), _INVALID)
            )
            self.close()
        else:
            self._serve_next()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self.paused = True

    def resume_writing(self) -> None:
        """The client caught up."""
        self.paused = False
        if self._exchange is not None:
            self._exchange.on_writable()

    def on_message_begin(self) -> None:
        """httptools: a request begins."""
        self._target, self._headers, self._body = b"", {}, []

    def on_url(self, url: bytes) -> None:
        """httptools: a piece of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header."""
        self._headers[name.lower().decode("latin-1")] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """httptools: the head is complete."""
        if self._headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """httptools: a piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """httptools: the request is complete."""
        request = Request(self._parser.get_method().decode(), self._target, self._headers, b"".join(self._body))
        request.http_11 = self._parser.get_http_version() == "1.1"
        request.keep_alive = self._parser.should_keep_alive()
        self._body = []
        self._queue.append(request)

    def next_exchange(self, *, keep_alive: bool) -> None:
        """The current answer is complete: close, serve the next pipelined request, or wait a while for another."""
        self._exchange = None
        if not keep_alive or self._connections.closing:
            self._queue.clear()
            self.close()
        elif self._queue:
            self._serve_next()
        else:
            self._idle = self._loop.call_later(self._connections.keep_alive_s, self.close)

    def date(self) -> str:
        """The date header's value."""
        return self._connections.date(self._loop.time())

    def write(self, data: bytes) -> None:
        """Send bytes, if the client is still there."""
        if self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        """Close without sending what is still buffered."""
        if self._transport is not None:
            self._transport.abort()

    def _serve_next(self) -> None:
        """Serve requests in order until one takes longer; a client that sends too many ahead has to wait."""
        if self._serving:
            return
        self._serving = True
        while self._exchange is None and self._queue:
            request = self._queue.popleft()
            self._exchange = Exchange(self, request)
            self._handler(request, self._exchange)
        self._serving = False
        if self._transport is not None and self._reading != (len(self._queue) < _PIPELINE_MOST):
            self._reading = not self._reading
            if self._reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _end_idling(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def close(self) -> None:
        """Close once what is written is out."""
        if self._transport is not None:
            self._transport.close()
