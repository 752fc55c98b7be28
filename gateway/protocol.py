"""uvicorn's HTTP protocol, two gaps closed. uvicorn is pinned to a minor version: this uses its insides."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway import errors
from gateway.errors import InvalidRequestError


class ClientProtocol(HttpToolsProtocol):
    """One client's connection."""

    running: RequestResponseCycle | None = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that runs, not only the last one that was read: under pipelining they differ."""
        super().connection_lost(exc)
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True
            self.running.message_event.set()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP in the shape of every other error."""
        error = InvalidRequestError(msg)
        body = errors.body_of(error)
        headers = [*errors.headers_of(error), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[400] + head + b"\r\n" + body)
        self.transport.close()
