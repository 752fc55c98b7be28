"""How a connection is closed: at once, or after listening on to a client that is still sending.

Closing while the client sends would reset the connection, and take from the client the answer it has not read yet
(RFC 9112 section 9.6).
"""

from __future__ import annotations

import asyncio
import weakref

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway import errors
from gateway.client_http.flow import Flow
from gateway.errors import GatewayError

LINGER_S = 2.0
"""How long a client that has been answered is still listened to."""


class Closer:
    """Closes one connection. Once it `lingers`, what the client sends is to be dropped."""

    lingers = False
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, transport: asyncio.Transport, flow: Flow) -> None:
        self._transport = transport
        self._flow = flow

    def close(self) -> None:
        """Send what lies ready and close."""
        self._transport.close()
        self._flow.watch()

    def linger(self) -> None:
        """Send what lies ready, say that no more will come, which TLS cannot say alone, and close after `LINGER_S`."""
        self.lingers = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._flow.hold(False)
        self._flow.resume_reading()
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, self.close)

    def answer_last(self, error: GatewayError) -> None:
        """Answer with an error that no application was asked for, and linger.

        Without CORS headers: the head is not whole, so the page's origin may not have come yet. Browsers write no such
        heads, unless a page makes one too large; its script then sees a network error.
        """
        body = errors.body_of(error)
        headers = dict(errors.headers_of(error)) | {b"content-length": b"%d" % len(body), b"connection": b"close"}
        head = b"".join(b"%b: %b\r\n" % header for header in headers.items())
        self._transport.write(STATUS_LINE[errors.status_of(error)] + head + b"\r\n" + body)
        self.linger()

    def cancel(self) -> None:
        """The connection is over."""
        if self._timer is not None:
            self._timer.cancel()


class CycleTransport(asyncio.Transport):
    """What one of uvicorn's cycles answers through: it closes by the closer, lingering if its body still comes."""

    def __init__(self, cycle: RequestResponseCycle, closer: Closer) -> None:
        super().__init__()
        # The cycle holds this: two that hold each other would lie about until the collector comes.
        self._cycle = weakref.proxy(cycle)
        self._closer = closer
        self._transport = cycle.transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether the connection is closed or about to be."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close, without taking a complete answer from a client that is still sending."""
        if self._cycle.response_complete and self._cycle.more_body and not self.is_closing():
            self._closer.linger()
        else:
            self._closer.close()
