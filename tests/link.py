"""A connection to a server that can be cut, slowed and reset: a TCP proxy in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.ports import HOST

RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Link:
    """Listens on `port` of the loopback address and passes all on to a port there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, leads_to: int) -> None:
        self.port = 0
        self._loop, self._leads_to = loop, leads_to
        self._sides: set[_Side] = set()
        self.is_cut = False
        self.delay_s = 0.0

    def cut(self) -> None:
        """Nothing arrives any more, in neither direction, and nobody is told; new connections hear nothing either."""
        self.is_cut = True

    def mend(self) -> None:
        """What was on its way arrives after all, as TCP has it."""
        self.is_cut = False
        self._for_all(lambda side: side.arrive(b""))

    def slow(self, delay_s: float) -> None:
        """From now on each byte takes so long."""
        self.delay_s = delay_s

    def reset(self) -> None:
        """All connections are reset; new ones are taken."""
        self._for_all(lambda side: side.abort())

    async def serve(self, ready: threading.Event, ended: asyncio.Event) -> None:
        """Until `ended`."""
        server = await self._loop.create_server(self._near_side, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await ended.wait()
        server.close()
        for side in list(self._sides):
            side.abort()
        await asyncio.sleep(0)

    def _near_side(self) -> _Side:
        return _Side(self, self._loop, self._sides, self._leads_to)

    def _for_all(self, act: Callable[[_Side], None]) -> None:
        done = threading.Event()

        def act_on_all() -> None:
            for side in list(self._sides):
                act(side)
            done.set()

        self._loop.call_soon_threadsafe(act_on_all)
        done.wait()


class _Side(asyncio.Protocol):
    """One side of a connection; the near one opens the far one."""

    def __init__(
        self, link: Link, loop: asyncio.AbstractEventLoop, sides: set[_Side], leads_to: int, near: _Side | None = None
    ) -> None:
        self._link, self._loop, self._sides, self._leads_to = link, loop, sides, leads_to
        self._peer = near
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()
        self._opening: asyncio.Task[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._sides.add(self)
        if self._peer is None:
            self._opening = self._loop.create_task(self._open(), name="the far side")
        else:
            self._peer.arrive(b"")

    def data_received(self, data: bytes) -> None:
        self._loop.call_later(self._link.delay_s, self.arrive, data)

    def arrive(self, data: bytes) -> None:
        """What this side has read comes to the other one, and before it what was held up."""
        self._held += data
        if self._held and not self._link.is_cut and self._peer and self._peer.writes(bytes(self._held)):
            self._held.clear()

    def writes(self, data: bytes) -> bool:
        """Whether it took the data."""
        if self._transport is None:
            return False
        self._transport.write(data)
        return True

    def connection_lost(self, _: Exception | None) -> None:
        self._sides.discard(self)
        if self._peer and self._peer in self._sides:
            self._peer.abort()

    def abort(self) -> None:
        """Resets this side, and so the other."""
        if self._transport is not None:
            raw: socket.socket = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            self._transport.abort()

    async def _open(self) -> None:
        far = _Side(self._link, self._loop, self._sides, self._leads_to, near=self)
        try:
            await self._loop.create_connection(lambda: far, HOST, self._leads_to)
        except OSError:
            self.abort()
        else:
            self._peer = far
            self.arrive(b"")


@contextmanager
def link_to(port: int) -> Iterator[Link]:
    """A link at work until the block ends."""
    loop = asyncio.new_event_loop()
    link, ready, ended = Link(loop, port), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(link.serve(ready, ended)), name="link")
    thread.start()
    ready.wait()
    try:
        yield link
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
