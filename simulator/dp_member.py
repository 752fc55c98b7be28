"""A rank's place in an external data-parallel group: nothing before all are there, nothing after one is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from simulator.dp_coordinator import FrameError, Go, Hello, Lines, Refused, pack

_TRY_S = 0.05
"""Between two looks for the coordinator, and for what it has said."""


class DpMember(asyncio.Protocol):
    """The connection to the coordinator. `hang` is called once a rank of the group is lost, the coordinator's too."""

    def __init__(self, rank: int, size: int, hang: Callable[[], None]) -> None:
        self._hello, self._hang = Hello(rank, size), hang
        self._lines = Lines()
        self._transport: asyncio.Transport | None = None
        self.may_go = False
        self.refusal = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who is here."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(pack(self._hello))

    def data_received(self, data: bytes) -> None:
        """Hear what becomes of it."""
        try:
            for frame in self._lines.feed(data):
                if isinstance(frame, Go):
                    self.may_go = True
                elif isinstance(frame, Refused):
                    self.refusal = frame.why
                else:
                    self._hang()
        except FrameError as error:
            self.refusal = f"what listens there is no coordinator: {error}"

    def connection_lost(self, exc: Exception | None) -> None:
        """Without rank 0 nothing steps."""
        if self.may_go:
            self._hang()

    def close(self) -> None:
        """This rank ends."""
        if self._transport is not None:
            self._transport.abort()


@asynccontextmanager
async def joined(member: DpMember, host: str, port: int, ended: asyncio.Event) -> AsyncIterator[bool]:
    """Whether the group goes: False where it does not, as it refused this rank or the rank has `ended` before.

    A coordinator that is not there is waited for; one that goes before the group did never comes back.
    """
    loop = asyncio.get_running_loop()
    is_connected = False
    try:
        while not (member.may_go or member.refusal or ended.is_set()):
            try:
                if not is_connected:
                    await loop.create_connection(lambda: member, host, port)
                    is_connected = True
            except OSError:
                pass
            await asyncio.sleep(_TRY_S)
        yield member.may_go
    finally:
        member.close()
