"""One connection to a rank: its transport, what is written to it, and whose bytes come from it.

Of a hundred streams that have a chunk each by turns, no object is in the processor's cache when its turn comes: what a
chunk costs is the objects it touches. Hence the slots, and `lane` beside `exchange`.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import cast

from gateway.rank_http.exchange import Exchange
from gateway.rank_http.sink import Sink
from gateway.rank_http.target import Origin

JOINED_BYTES = 65_536
"""A body up to this size goes with its head in one write."""


class Connection(asyncio.Protocol):
    """`exchange` is what is going on; without one nothing may come. `idle_since_s` is the keeper's note.

    `lane`: what may take whole chunks ahead of the exchange, as long as nothing else is due; `lane_has_taken`: it did.
    """

    __slots__ = (
        "_is_full",
        "_is_whole",
        "_on_lost",
        "_on_sent",
        "_room",
        "_transport",
        "exchange",
        "idle_since_s",
        "lane",
        "lane_has_taken",
        "origin",
    )

    def __init__(self, origin: Origin, on_lost: Callable[[Connection], None]) -> None:
        self.origin = origin
        self.exchange: Exchange | None = None
        self.lane: Sink | None = None
        self.lane_has_taken = False
        self.idle_since_s = 0.0
        self._on_lost = on_lost
        self._is_whole = False
        self._on_sent: Callable[[], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._is_full = False
        self._room: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask to be told when a written byte is left behind, and when the last one has gone."""
        self._transport = cast("asyncio.Transport", transport)
        # Of TLS the mark of 0 bytes counts as reached with nothing written.
        self._transport.set_write_buffer_limits(high=int(self.origin.tls), low=0)

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be sent any longer."""
        return self._transport is None or self._transport.is_closing()

    @property
    def is_sent(self) -> bool:
        """Whether the last byte of the last request has left."""
        return self._is_whole and not self._is_full

    def is_stale(self) -> bool:
        """Whether an idle connection has been closed by its rank, or the rank sent what nobody asked for."""
        if self._transport is None or self._transport.is_closing():
            return True
        ready = select.poll()
        ready.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(ready.poll(0))

    def send(self, head: bytes, body: bytes | None, on_sent: Callable[[], None]) -> None:
        """Begin a request: write its head, and the body unless that comes in parts (None)."""
        self._is_whole = False
        self._on_sent = on_sent
        if body is None:
            self.write(head)
        elif len(body) <= JOINED_BYTES:
            self.write(head + body)
            self.end_request()
        else:
            self.write(head)
            self.write(body)
            self.end_request()

    def write(self, data: bytes) -> None:
        """Write a part of a request."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def end_request(self) -> None:
        """All of the request has been written: say so as soon as its last byte has left."""
        self._is_whole = True
        self._tell_sent()

    def write_eof(self) -> None:
        """Say that nothing more will be written; where that cannot be said alone, close."""
        if self._transport is not None and not self._transport.is_closing():
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()

    async def drain(self) -> None:
        """Wait until all that was written has left, or the connection is lost."""
        while self._is_full and not self.is_closing:
            self._room = asyncio.get_running_loop().create_future()
            try:
                await self._room
            finally:
                self._room = None

    def pause_reading(self) -> None:
        """Take nothing more from the rank."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once; what is not sent yet is lost."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer; with no request open they would be taken for the next one's."""
        if self.lane is not None and self.lane.take_alike(data):
            self.lane_has_taken = True
        elif self.exchange is None:
            self.abort()
        else:
            self.exchange.received(data)

    def eof_received(self) -> None:
        """The rank has closed its side; the transport closes ours."""
        if self.exchange is not None:
            self.exchange.ended()

    def pause_writing(self) -> None:
        """Something is left of what was written."""
        self._is_full = True

    def resume_writing(self) -> None:
        """All that was written has left."""
        self._is_full = False
        self._make_room()
        self._tell_sent()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone: whoever waits must not wait for ever."""
        self._on_lost(self)
        self._on_sent = None
        self._make_room()
        if self.exchange is not None:
            self.exchange.lost(exc)

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _tell_sent(self) -> None:
        if self.is_sent and self._on_sent is not None and not self.is_closing:
            on_sent, self._on_sent = self._on_sent, None
            on_sent()
