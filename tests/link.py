"""A link that can go wrong: a TCP port that passes everything on, late, not at all, or not as it came.

A partition here is what it is to who is connected: nothing passes and nobody is told; what was sent meanwhile arrives
when it ends. Connections are taken all the same. In a namespace of its own a link can be cut off from all packets.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal, NamedTuple

from tests.namespace import Namespace
from tests.polling import until
from tests.ports import HOST, bound

PIECE_BYTES: Final = 65_536
Concerns = Literal["all", "looks", "requests"]
"""Which connections: all, those last asked by a GET (a look at a rank's health or load), those that were not. A router
may look and ask on the same connection."""


class Trouble(NamedTuple):
    """What is wrong with a link: each piece of data `delay_s` late, `partition`, `reset`, or `garbage` for answers."""

    concerns: Concerns = "all"
    partition: bool = False
    delay_s: float = 0.0
    reset: bool = False
    garbage: bytes = b""


FINE: Final = Trouble()


class _Use:
    """What a connection was last asked by: a GET or something else. What begins with neither method goes on."""

    def __init__(self) -> None:
        self._looks = False

    def hear(self, piece: bytes) -> None:
        """A piece from the side that asks."""
        if piece.startswith((b"GET ", b"POST ")):
            self._looks = piece.startswith(b"GET ")

    def is_of(self, concerns: Concerns) -> bool:
        """Whether what concerns these concerns this connection."""
        return concerns == "all" or self._looks == (concerns == "looks")


class Link:
    """Leads from a port here, or in a namespace, to a port of this machine; at work within `link`.

    With `greets` who is there speaks first: nothing is waited for before it is connected to.
    """

    def __init__(self, leads_to: int, port: int, namespace: Namespace | None = None, *, greets: bool = False) -> None:
        self.leads_to, self.port, self.namespace, self._greets = leads_to, port, namespace, greets
        self.host = namespace.address if namespace else HOST
        self._trouble = FINE
        self._changed = asyncio.Event()
        self._writers: dict[asyncio.StreamWriter, _Use] = {}
        self._server: asyncio.Server | None = None
        self._serving = 0

    @property
    def is_idle(self) -> bool:
        """Whether no connection is left."""
        return not self._serving

    async def open(self) -> None:
        """Takes connections."""
        if self._server is None:
            listener = self.namespace.bound(self.port) if self.namespace else bound(HOST, self.port)
            self._server = await asyncio.start_server(self._serve, sock=listener, backlog=512)

    def close(self) -> None:
        """Takes none any more, as a port that nobody listens on; those there are stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def suffer(self, trouble: Trouble) -> None:
        """This is wrong with the link from now on, in place of what was."""
        self._trouble = trouble
        if trouble.reset:
            self.reset(trouble.concerns)
        self._changed.set()
        self._changed = asyncio.Event()

    def reset(self, concerns: Concerns = "all") -> None:
        """All its connections of this kind are reset, at both ends."""
        for writer, use in list(self._writers.items()):
            if use.is_of(concerns):
                _reset(writer)

    def _trouble_of(self, use: _Use) -> Trouble:
        return self._trouble if use.is_of(self._trouble.concerns) else FINE

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_writer: asyncio.StreamWriter | None = None
        use = self._writers[writer] = _Use()
        self._serving += 1
        try:
            with suppress(OSError):
                first = b"" if self._greets else await reader.read(PIECE_BYTES)
                use.hear(first)
                await self._passable(use)
                if self._trouble_of(use).reset:
                    _reset(writer)
                elif first or self._greets:
                    far_reader, far_writer = await asyncio.open_connection(HOST, self.leads_to)
                    self._writers[far_writer] = use
                    await self._both_ways((reader, writer), (far_reader, far_writer), first, use)
        finally:
            self._serving -= 1
            for each in (writer, far_writer):
                if each is not None:
                    self._writers.pop(each, None)
                    each.transport.abort()

    async def _both_ways(
        self,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        first: bytes,
        use: _Use,
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            there = tasks.create_task(self._pump(near[0], far[1], first, use, answers=False), name="there")
            back = tasks.create_task(self._pump(far[0], near[1], b"", use, answers=True), name="back")
            done, _ = await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            for each in (there, back):
                each.cancel()
        if back in done and not back.cancelled() and back.result():
            near[1].close()
            with suppress(OSError):
                await near[1].wait_closed()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: bytes, use: _Use, *, answers: bool
    ) -> bool:
        """True when its side closed in order, False when it broke."""
        with suppress(OSError):
            while piece or (piece := await reader.read(PIECE_BYTES)):
                read_s = time.monotonic()
                if not answers:
                    use.hear(piece)
                await self._passable(use)
                trouble = self._trouble_of(use)
                if trouble.reset:
                    self._reset_both(use)
                    return False
                if (rest_s := read_s + trouble.delay_s - time.monotonic()) > 0:
                    await asyncio.sleep(rest_s)
                if writer.transport.is_closing():
                    return False  # uvloop refuses to write to it, which is no OSError
                if answers and trouble.garbage:
                    writer.write(trouble.garbage)
                    return True
                writer.write(piece)
                await writer.drain()
                piece = b""
            return True
        return False

    async def _passable(self, use: _Use) -> None:
        while self._trouble_of(use).partition:
            await self._changed.wait()

    def _reset_both(self, use: _Use) -> None:
        for writer in [each for each, other in self._writers.items() if other is use]:
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes so that the other side gets a RST; a plain abort sends a FIN where nothing is left unread."""
    connection = writer.get_extra_info("socket")
    if connection is not None and not writer.transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def link(made: Link) -> AsyncIterator[Link]:
    """The link at work until the block ends."""
    await made.open()
    try:
        yield made
    finally:
        made.close()
        made.suffer(FINE)
        made.reset()
        await until(lambda: made.is_idle, "a link's connections have ended")
