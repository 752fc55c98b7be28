"""uvicorn's HTTP protocol, with the limits it lacks. uvicorn is pinned to a minor version: this uses its insides.

Beside the limits: a client that leaves is noticed under pipelining too, trailers do not become headers, bytes that are
no HTTP are answered in the shape of every other error, and HTTP/1.0 is answered without chunks.

What came is parsed by the piece, and no further while enough requests wait for their turn on this connection; each
answer makes room for the next piece.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway import errors
from gateway.client_http import client, framing, upgrade, waiting
from gateway.client_http.client import Client
from gateway.client_http.flow import Flow
from gateway.client_http.lingering import Closer, CycleTransport
from gateway.client_http.unchunked import Unchunked
from gateway.errors import GatewayError, HeadTooLargeError, InvalidRequestError, RequestTooSlowError
from gateway.headers import HEAD_TOO_LARGE, MAX_HEAD_BYTES, MAX_HEADERS, first

HEAD_S = 30.0
"""How long a head may take from the connection, or from its own first byte, to its end."""

PIECE_BYTES = 512
"""How much is parsed at once outside a body: a few dozen of the shortest requests, or half of a usual head."""


class ClientProtocol(HttpToolsProtocol):
    """One client's connection. `refused` counts those that were refused, by status.

    A client that reads nothing for `client_idle_s` while there is something for it loses its connection.
    """

    flow: Flow
    closer: Closer
    running: RequestResponseCycle | None = None
    client_of_running: Client
    offering: RequestResponseCycle | None = None
    _refusal: GatewayError | None = None
    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0
    _unanswered_bytes = 0
    _body_left_bytes = 0
    _keeps_alive_with_body = False

    def __init__(self, refused: Counter, client_idle_s: float, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._refused = refused
        self._client_idle_s = client_idle_s
        self._unread = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the client `HEAD_S` for its first head."""
        super().connection_made(transport)
        self.flow = Flow(transport, self._client_idle_s)
        self.closer = Closer(transport, self.flow)
        self._timer = self.loop.call_later(HEAD_S, self._on_slow_head)

    def data_received(self, data: bytes) -> None:
        """Parse what came, within the limits; after the last answer drop it."""
        if self._is_open:
            self._unread += data
            self._read_on()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer: those are dropped (RFC 9110 section 6.5.1), as nobody here knows any."""
        self._count(len(name) + len(value))
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: start the request."""
        self._in_head = False
        self._unanswered_bytes = 0
        self._stop_timer()
        self._refusal = framing.fault_of(self.parser.get_http_version(), self.headers)
        if self._refusal is not None:
            raise self._refusal
        if self.parser.get_http_version() == "1.0":
            # RFC 9110 section 10.1.1: such a client knows no interim answer.
            self.expect_100_continue = False
        super().on_headers_complete()
        self._keeps_alive_with_body = self.expect_100_continue and self.cycle.keep_alive
        if self._keeps_alive_with_body:
            # Without having asked for the body nobody can tell whether it comes next, or another request.
            self.cycle.keep_alive = False
        self._body_left_bytes = int(first(self.headers, b"content-length") or 0)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._unanswered_bytes = 0
        self._body_left_bytes -= len(body)
        self._keep_alive_with_body()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete, or the parser stops after the head of one that offers an upgrade."""
        self._unanswered_bytes = 0
        if not self.parser.should_upgrade():
            self._keep_alive_with_body()
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is complete: it is the next request's turn."""
        if self._is_open:
            super().on_response_complete()
            self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that runs, not only the last one that was read: under pipelining they differ."""
        self._stop_timer()
        self.closer.cancel()
        self.flow.end()
        self._unread.clear()
        super().connection_lost(exc)
        # uvicorn leaves it running if the connection was reset.
        self._unset_keepalive_if_required()
        self._end_running()

    def hand_over(self, successor: asyncio.Protocol) -> bytes:
        """Let another protocol have the connection from here on, and what has come and was not parsed."""
        self._stop_timer()
        unread, self._unread = bytes(self._unread), bytearray()
        if not self.transport.is_closing():
            self.transport.set_protocol(successor)
        return unread

    def timeout_keep_alive_handler(self) -> None:
        """No further request came."""
        self.closer.close()

    def shutdown(self) -> None:
        """The server stops."""
        self._keeps_alive_with_body = False
        super().shutdown()
        if self.transport.is_closing():
            self.flow.watch()

    def _should_upgrade(self) -> bool:
        return False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        self.client_of_running = Client(cycle, self.transport, self.flow)
        cycle.scope[client.SCOPE_KEY] = self.client_of_running  # type: ignore[literal-required]
        cycle.transport = CycleTransport(cycle, self.closer)
        if cycle.scope["http_version"] == "1.0":
            app = Unchunked(app, cycle)
        super()._start_asgi_task(cycle, app)

    @property
    def _is_open(self) -> bool:
        return not self.closer.lingers and not self.transport.is_closing()

    @property
    def _is_answering(self) -> bool:
        return self.running is not None and not self.running.response_complete

    def _read_on(self) -> None:
        if self._unread:
            self._unset_keepalive_if_required()
        while self._unread and self._is_open and not waiting.is_due(self.pipeline, self.cycle, self.offering):
            size = max(PIECE_BYTES, self._body_left_bytes)
            piece = bytes(self._unread[:size])
            del self._unread[:size]
            self._parse(piece)
        self.flow.hold(len(self._unread) > waiting.MAX_UNREAD_BYTES)
        if self.pipeline:
            # uvicorn stops reading when it queues a request; the one that runs would never learn that its client left.
            self.flow.resume_reading()
        if self._timer is None and self._is_open and (self._in_head or not self._is_answering):
            self._timer = self.loop.call_later(HEAD_S, self._on_slow_head)

    def _parse(self, piece: bytes) -> None:
        # The parser keeps what is unfinished and says nothing of it: a header, a target, a trailer without an end.
        self._unanswered_bytes += len(piece)
        try:
            self._unread[:0] = upgrade.feed(self, piece)
        except httptools.HttpParserError:
            self._refuse(self._refusal or InvalidRequestError("Invalid HTTP request received."))
        else:
            if self._unanswered_bytes > MAX_HEAD_BYTES:
                self._refuse(HeadTooLargeError(HEAD_TOO_LARGE))

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEADERS:
            self._refusal = HeadTooLargeError(HEAD_TOO_LARGE)
            raise self._refusal

    def _on_slow_head(self) -> None:
        self._timer = None
        if self._is_answering:
            self._timer = self.loop.call_later(HEAD_S, self._on_slow_head)
        elif not self._in_head:
            # A proxy that connects ahead of need would take a 408 for the answer to its next request.
            self.closer.close()
        else:
            self._refuse(RequestTooSlowError(f"The request's head did not arrive within {HEAD_S:g} s"))

    def _refuse(self, error: GatewayError) -> None:
        """Answer with an error, unless an answer has begun, and close."""
        self._refusal = error
        self._refused.labels(str(errors.status_of(error))).inc()
        self._unread.clear()
        self._stop_timer()
        if self.running is not None and self.running.response_started and self._is_answering:
            self.closer.close()
            return
        self._end_running()
        self.closer.answer_last(error)

    def _keep_alive_with_body(self) -> None:
        if self._keeps_alive_with_body and not self.cycle.response_started:
            self._keeps_alive_with_body = False
            self.cycle.keep_alive = True

    def _end_running(self) -> None:
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True
            # Else it would ask for its body after our last byte.
            self.running.waiting_for_100_continue = False
            self.running.message_event.set()
            self.client_of_running.is_gone()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
