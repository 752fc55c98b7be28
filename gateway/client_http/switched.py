"""A client's connection on which HTTP is over: its offer to change the protocol, and its bytes after that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.client_http.waiting import MAX_UNREAD_BYTES

if TYPE_CHECKING:
    from gateway.client_http.protocol import ClientProtocol

OFFER_KEY = "forebay.offer"
"""Where a request's scope holds its `Offer`, if it made one."""


class Offer:
    """The offer of one request; what the client sends meanwhile is not parsed.

    It is taken by `prepare`, the head of the answer and `switch`, in this order, and declined by any other answer.
    """

    def __init__(self, http: ClientProtocol, cycle: RequestResponseCycle) -> None:
        self._http = http
        self._cycle = cycle

    def prepare(self) -> None:
        """The next head is followed by no body, and does not say that the connection ends."""
        self._cycle.chunked_encoding = False
        self._cycle.expected_content_length = 0
        self._cycle.keep_alive = True

    def switch(self) -> Switched:
        """The connection after the head, until the end of the answer closes it."""
        self._cycle.keep_alive = False
        return Switched(self._http, self._cycle)


class Switched(asyncio.Protocol):
    """What a client sends, and what is sent to it. Its connection's end is still told to the HTTP protocol."""

    def __init__(self, http: ClientProtocol, cycle: RequestResponseCycle) -> None:
        self._http = http
        self._cycle = cycle
        self._news = asyncio.Event()
        self.has_ended = False
        # As it may send more, its connection is to be closed without a reset.
        cycle.more_body = True
        self._unread = bytearray(http.hand_over(self))

    async def read(self) -> bytes:
        """What the client has sent, b"" at its end."""
        while not (self._unread or self.has_ended):
            self._news.clear()
            await self._news.wait()
        data = bytes(self._unread)
        self._unread.clear()
        self._http.flow.hold(False)
        return data

    async def write(self, data: bytes) -> None:
        """Send, and wait until the client has read nearly all of it."""
        if not self._http.transport.is_closing():
            self._http.transport.write(data)
            await self._http.flow.drain()

    def data_received(self, data: bytes) -> None:
        """Hold what came until it is read; once the answer has ended, drop it."""
        if not self._http.closer.lingers:
            self._unread += data
            self._http.flow.hold(len(self._unread) > MAX_UNREAD_BYTES)
            self._news.set()

    def eof_received(self) -> bool:
        """The client has closed its side; it may still read, but not over TLS, where a side is not closed alone."""
        self._end()
        return not self._http.closer.lingers and self._http.transport.can_write_eof()

    def pause_writing(self) -> None:
        """As uvicorn's."""
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """As uvicorn's."""
        self._http.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._end()
        self._http.connection_lost(exc)

    def _end(self) -> None:
        self.has_ended = True
        self._cycle.more_body = False
        self._news.set()
