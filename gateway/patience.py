"""How long the parts of a client's body are waited for."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import msgspec

from gateway.errors import RequestTooSlowError

Part = TypeVar("Part")


class Patience(msgspec.Struct, frozen=True):
    """What is borne of a client that sends a body: `idle_s` without anything, and `grace_s` for the whole of it beside
    the time that it takes at `least_bytes_per_s`.

    The defaults are those that Apache's mod_reqtimeout has for bodies: a modem sends ten times as much, and a body of
    one byte a minute ends after 20 seconds instead of never.
    """

    idle_s: float
    grace_s: float = 20.0
    least_bytes_per_s: float = 500.0

    def left_s(self, size_bytes: int, waited_s: float) -> float:
        """How long to wait for more, of a body of which so much has come in so long a time of waiting."""
        return min(self.idle_s, self.grace_s + size_bytes / self.least_bytes_per_s - waited_s)


class Waiting:
    """Waits for the parts of one body. Only while it waits the time counts: else nobody reads what the client sends."""

    def __init__(self, patience: Patience, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience: Patience | None = patience
        self._clock = clock
        self._waited_s = 0.0

    def forever(self) -> None:
        """Nobody needs the rest."""
        self._patience = None

    async def next(self, receive: Callable[[], Awaitable[Part]], size_bytes: int) -> Part:
        """What is received next, after so many bytes of the body. Raises RequestTooSlowError."""
        if self._patience is None:
            return await receive()
        began_s = self._clock()
        left_s = self._patience.left_s(size_bytes, self._waited_s)
        with anyio.move_on_after(left_s):
            part = await receive()
            self._waited_s += self._clock() - began_s
            return part
        if left_s == self._patience.idle_s:
            raise RequestTooSlowError(f"The request's body did not arrive: nothing came for {left_s:g} s")
        raise RequestTooSlowError(
            f"The request's body came too slowly: less than {self._patience.least_bytes_per_s:g} bytes/s"
        )
