"""uvicorn's flow control, for clients that send more than may be held and for those that do not read."""

from __future__ import annotations

import asyncio
from typing import Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from gateway.client_http.hang_up import HangUpWatch


class Source(Protocol):
    """What a body comes from, and can be kept waiting while the client reads too slowly."""

    def pause(self) -> None:
        """Send nothing more for now."""

    def resume(self) -> None:
        """Go on."""


class Flow(FlowControl):
    """Reads on whenever a request asks for more, except while it is held, as uvicorn's would not.

    A client that has read nothing of what lies ready for it for `client_idle_s` loses its connection: closing would
    wait for it for ever. So does one that closes while the body of its request is not taken: nobody would notice.
    """

    _held = False
    _timer: asyncio.TimerHandle | None = None
    _unread_bytes = 0
    _source: Source | None = None
    _is_over = False

    def __init__(self, transport: asyncio.Transport, client_idle_s: float) -> None:
        super().__init__(transport)
        self._client_idle_s = client_idle_s
        self._hang_up = HangUpWatch(transport)
        self._is_tls = not transport.can_write_eof()

    def hold(self, held: bool) -> None:
        """Stop reading, or read on. What was sent is to be served, though the client may have closed its side."""
        if held:
            super().pause_reading()
        elif self._held:
            super().resume_reading()
        self._held = held

    def pause_reading(self) -> None:
        """A body is not taken as fast as it comes."""
        super().pause_reading()
        self._hang_up.start()

    def resume_reading(self) -> None:
        """Read on, unless it is held."""
        self._hang_up.stop()
        if not self._held:
            super().resume_reading()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        super().pause_writing()
        self.watch()
        if self._source is not None:
            self._source.pause()

    def resume_writing(self) -> None:
        """The client has read almost everything; while the connection closes, it has to read the rest too."""
        super().resume_writing()
        if not self._transport.is_closing():
            self.unwatch()
        if self._source is not None and not self._is_over:
            self._source.resume()

    def follow(self, source: Source | None) -> None:
        """Have what sends past the application pause and go on with the client; None once it has sent all."""
        self._source = source
        if source is not None and (self.write_paused or self._is_over):
            source.pause()

    def end(self) -> None:
        """The connection is over: until whoever answers has heard of it, nothing more is to come that would be sent."""
        self._is_over = True
        self._hang_up.stop()
        self.unwatch()
        if self._source is not None:
            self._source.pause()

    def watch(self) -> None:
        """Begin to look whether the client reads; `pause_writing` does, and whoever closes the connection must.

        Closing TLS has a deadline of its own (shared_listener.py), and cannot be asked what is unread.
        """
        if self._timer is None and not self._is_closing_tls:
            self._unread_bytes = self._transport.get_write_buffer_size()
            self._timer = asyncio.get_running_loop().call_later(self._client_idle_s, self._look)

    def unwatch(self) -> None:
        """No longer look: the client reads."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _is_closing_tls(self) -> bool:
        return self._is_tls and self._transport.is_closing()

    def _look(self) -> None:
        self._timer = None
        if self._is_closing_tls:
            return
        if self._transport.get_write_buffer_size() < self._unread_bytes:
            self.watch()
        else:
            self._transport.abort()
