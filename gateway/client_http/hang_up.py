"""Notices that a client has closed while nothing is read of what it still sends.

The end of a connection lies behind what was sent before it, so a server that does not take a body on, for its request
waits, reads neither. Linux tells of it nevertheless; elsewhere only a connection that was reset shows.
"""

from __future__ import annotations

import asyncio
import select

LOOK_S = 0.1
"""How often it is looked."""

CLOSED: int = getattr(select, "POLLRDHUP", 0)
"""Asks for the other side's end. That of both sides is told unasked."""


class HangUpWatch:
    """Looks at one connection while it is not read, and aborts it when its client has closed."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """It is not read from now on."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def stop(self) -> None:
        """It is read again, or over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._transport.is_closing():
            return
        ready = select.poll()
        ready.register(self._transport.get_extra_info("socket").fileno(), CLOSED)
        if ready.poll(0):
            self._transport.abort()
        else:
            self.start()
