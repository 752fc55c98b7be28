"""One HTTP request and the answering side of it, with the heads uvicorn writes under vLLM.

Heads keep uvicorn's order: date, server, the application's own (content-length, content-type, vary), connection,
transfer-encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Protocol

import httptools

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


class Request:
    """One complete request. Header names are lower case; of repeated ones the last counts.

    `query` is as it was sent.
    """

    __slots__ = ("body", "headers", "http_11", "keep_alive", "method", "path", "query")

    def __init__(self, method: str, target: bytes, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        url = httptools.parse_url(target)
        self.path = url.path.decode("latin-1")
        self.query = (url.query or b"").decode("latin-1")
        self.headers = headers
        self.body = body
        self.http_11 = True
        self.keep_alive = True


class Wire(Protocol):
    """What an exchange needs of its connection."""

    paused: bool

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def abort(self) -> None:
        """Close without sending what is still buffered."""

    def next_exchange(self, *, keep_alive: bool) -> None:
        """The answer is complete."""

    def date(self) -> str:
        """The date header's value."""


class Exchange:
    """The answering side of one request. Everything is a no-op once `closed`."""

    __slots__ = ("_chunked", "_request", "_wire", "closed", "on_close", "on_writable")

    def __init__(self, wire: Wire, request: Request) -> None:
        self._wire = wire
        self._request = request
        self._chunked = False
        self.closed = False
        self.on_close: Callable[[], None] = _nothing
        self.on_writable: Callable[[], None] = _nothing

    @property
    def writable(self) -> bool:
        """False while the client reads too slowly; `on_writable` is called when it caught up."""
        return not self._wire.paused

    def respond(self, status: int, body: bytes, content_type: str | None = "application/json", allow: str = "") -> None:
        """Answer with a complete body; an empty one with no content type has none of its own."""
        lines = [f"allow: {allow}"] if allow else []
        lines.append(f"content-length: {len(body)}")
        if content_type is not None:
            lines.append(f"content-type: {content_type}")
        head = self._head(status, lines)
        self._write(head if self._request.method == "HEAD" else head + body)
        self.finish()

    def start_stream(self, content_type: str = "text/event-stream; charset=utf-8") -> None:
        """Send the head of an answer in pieces; HTTP/1.0 gets the bytes unframed, ended by closing."""
        self._chunked = self._request.http_11
        if not self._chunked:
            self._request.keep_alive = False
        self._write(self._head(200, [f"content-type: {content_type}"]))

    def frame(self, data: bytes) -> bytes:
        """`data` as one HTTP chunk."""
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def send(self, framed: bytes) -> None:
        """Write bytes that `frame` made."""
        self._write(framed)

    def end_stream(self, framed: bytes) -> None:
        """Write the last framed bytes and end the stream; the connection may serve another request."""
        self._write(framed + b"0\r\n\r\n" if self._chunked else framed)
        self.finish()

    def drop(self) -> None:
        """Close the connection with no further byte, mid-answer, as if the client had gone."""
        if not self.closed:
            self.closed = True
            self._wire.abort()
            self.on_close()

    def finish(self) -> None:
        """The answer is complete."""
        if not self.closed:
            self.closed = True
            self._wire.next_exchange(keep_alive=self._request.keep_alive)

    def _write(self, data: bytes) -> None:
        if not self.closed:
            self._wire.write(data)

    def _head(self, status: int, lines: list[str]) -> bytes:
        phrase = _PHRASES.get(status, "")
        head = [f"HTTP/1.1 {status} {phrase}", f"date: {self._wire.date()}", "server: uvicorn", *lines]
        head.append("vary: Origin")
        if not self._request.keep_alive:
            head.append("connection: close")
        if self._chunked:
            head.append("transfer-encoding: chunked")
        return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")


def _nothing() -> None:
    """The hook of an exchange nobody waits on."""
