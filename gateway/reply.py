"""The answer to one client, over plain ASGI."""

from __future__ import annotations

import math
from collections.abc import Callable
from http import HTTPStatus

import anyio
from starlette.types import Message, Scope, Send

from gateway import error_shapes, errors
from gateway.client_http.client import Client
from gateway.error_shapes import ErrorShape
from gateway.errors import GatewayError
from gateway.headers import Headers


class ClientGoneError(Exception):
    """The client has closed, or stopped sending or reading for too long; there is nobody to answer."""


class Reply:
    """Head, body parts and end of one answer, and what becomes of an error on the way.

    Of a stream only whole events are to be written. `extra` headers go with every answer; `last_events` says what an
    error in a stream comes after, and `release_held` gives what was held back and goes before it. A client that reads
    nothing for `client_idle_s` counts as gone: whatever sends then raises ClientGoneError. `client` is None where the
    server does not lend its connection.
    """

    def __init__(
        self,
        send: Send,
        client_idle_s: float,
        client: Client | None = None,
        shape: ErrorShape = ErrorShape.OPENAI,
    ) -> None:
        self._send = send
        self._client_idle_s = client_idle_s
        self._shape = shape
        self.client = client
        self._is_event_stream = False
        self.extra: Headers = []
        self.last_events: Callable[[], bytes] = bytes
        self.release_held: Callable[[], bytes] = bytes
        self._is_switched = False
        self.started = False
        self.complete = False

    async def start(self, status: int, headers: Headers, *, is_event_stream: bool = False) -> None:
        """Send the head."""
        self.started = True
        self._is_event_stream = is_event_stream
        await self._pass({"type": "http.response.start", "status": status, "headers": headers + self.extra})

    async def switch(self, headers: Headers) -> None:
        """Send the head that changes the protocol; what follows is not for this class, but the end is."""
        self._is_switched = True
        await self.start(HTTPStatus.SWITCHING_PROTOCOLS, headers)

    async def write(self, part: bytes) -> None:
        """Send a part of the body on."""
        await self._pass({"type": "http.response.body", "body": part, "more_body": True})

    @property
    def chunk_client(self) -> Client | None:
        """Whom to write the body's chunks to without `write`, once the head is sent; None if that is not possible."""
        return self.client if self.client is not None and self.client.takes_chunks else None

    async def end(self, part: bytes = b"") -> None:
        """Send the last part of the body."""
        await self._pass({"type": "http.response.body", "body": part, "more_body": False})
        self.complete = True

    async def _pass(self, message: Message) -> None:
        """Any of them waits until the client has read enough of what came before."""
        if self.client is not None and self.client.reads:
            await self._send(message)
            return
        with anyio.move_on_after(self._client_idle_s):
            await self._send(message)
            return
        raise ClientGoneError

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete answer."""
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.end(body)

    async def fail(self, error: GatewayError) -> None:
        """Tell the client of an error in the way that is still open.

        Before the head it is an answer of its own; in an event stream it is the last event, without `[DONE]`; in any
        other body there is no way to say it, so the body stays incomplete and the server closes the connection; in
        another protocol it is the end. A complete answer stays as it is.
        """
        if not self.started:
            body = error_shapes.body_of(error, self._shape)
            await self.whole(errors.status_of(error), errors.headers_of(error), body)
        elif self._is_switched and not self.complete:
            await self.end()
        elif self._is_event_stream and not self.complete:
            await self.end(self.release_held() + error_shapes.event_of(error, self._shape, self.last_events()))

    def forget(self) -> None:
        """The request is over: what was told of its stream holds the request, and would be left to the collector."""
        self.last_events = self.release_held = bytes


async def fail(scope: Scope, send: Send, error: GatewayError) -> None:
    """Answer a request with an error and nothing else."""
    await Reply(send, math.inf, shape=error_shapes.shape_at(scope["path"])).fail(error)
