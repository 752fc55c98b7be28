"""What may befall a leg between a gateway and a simulated rank: a port before the rank's own where it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

from tests.ports import HOST

PIECE_BYTES = 65_536
LATE_S = 0.1
ERROR = b'{"error":{"message":"broken","type":"InternalServerError","param":null,"code":%s}}'


class Mishap(StrEnum):
    """What becomes of one request."""

    NONE = "none"
    RESET = "reset before it reaches the rank"
    BUSY = "503"
    BROKEN = "500"
    REFUSED = "400"
    SILENT = "silent"
    GARBAGE = "no HTTP"
    LATE = "late"
    RESET_AT_WORK = "reset while the rank works"
    RESET_IN_HEAD = "reset in the answer's head"
    RESET_IN_BODY = "reset in the answer's body"


ANSWERS = {
    Mishap.BUSY: b"503 Service Unavailable",
    Mishap.BROKEN: b"500 Internal Server Error",
    Mishap.REFUSED: b"400 Bad Request",
}
PASSES_BYTES = {Mishap.RESET_IN_HEAD: 40, Mishap.RESET_IN_BODY: 400}


class TroubledLeg:
    """Passes each request on to the rank at `port`, or has it suffer what `draw` says; a connection has one request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.url = ""
        self.draw: Callable[[], Mishap] = lambda: Mishap.NONE
        self.open_requests = 0

    def suffer(self, *mishaps: Mishap) -> None:
        """The next requests do, one each, and none after them."""
        coming = iter(mishaps)
        self.draw = lambda: next(coming, Mishap.NONE)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.open_requests += 1
        try:
            await self._answer(await _request(reader), reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the gateway closed first, or the test is over
        finally:
            self.open_requests -= 1
            writer.close()

    async def _answer(self, raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mishap = self.draw()
        match mishap:
            case Mishap.RESET:
                writer.transport.abort()
            case Mishap.BUSY | Mishap.BROKEN | Mishap.REFUSED:
                body = ERROR % ANSWERS[mishap].split()[0]
                head = b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: %d" % (ANSWERS[mishap], len(body))
                writer.write(head + b"\r\n\r\n" + body)
            case Mishap.SILENT:
                await reader.read()
            case Mishap.GARBAGE:
                writer.write(b"\x15\x03\x01\r\n\r\n")
            case _:
                if mishap is Mishap.LATE:
                    await asyncio.sleep(LATE_S)
                await self._pass_on(raw, mishap, reader, writer)

    async def _pass_on(
        self, raw: bytes, mishap: Mishap, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        from_rank, to_rank = await asyncio.open_connection(HOST, self._port)
        to_rank.write(raw)
        try:
            async with asyncio.TaskGroup() as tasks:
                back = tasks.create_task(_pump(from_rank, writer, PASSES_BYTES.get(mishap)), name="back")
                there = tasks.create_task(_pump(reader, to_rank, None), name="there")
                within_s = LATE_S / 10 if mishap is Mishap.RESET_AT_WORK else None
                await asyncio.wait([back, there], return_when=asyncio.FIRST_COMPLETED, timeout=within_s)
                back.cancel()
                there.cancel()
            if mishap in PASSES_BYTES or mishap is Mishap.RESET_AT_WORK:
                writer.transport.abort()
        finally:
            to_rank.transport.abort()


async def _request(reader: asyncio.StreamReader) -> bytes:
    """A request, after which the rank is to close the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = [line.partition(b":") for line in head.lower().split(b"\r\n")]
    assert all(name != b"connection" for name, *_ in lines)
    return head.replace(b"\r\n", b"\r\nconnection: close\r\n", 1) + await reader.readexactly(
        next(int(value) for name, _, value in lines if name == b"content-length")
    )


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, at_most: int | None) -> None:
    with suppress(OSError):
        while (at_most is None or at_most > 0) and (piece := await reader.read(at_most or PIECE_BYTES)):
            writer.write(piece)
            await writer.drain()
            at_most = None if at_most is None else at_most - len(piece)


@asynccontextmanager
async def troubled_leg(port: int) -> AsyncIterator[TroubledLeg]:
    """Such a port until the block ends."""
    leg = TroubledLeg(port)
    server = await asyncio.start_server(leg.serve, HOST, 0)
    leg.url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
    try:
        yield leg
    finally:
        server.close()
