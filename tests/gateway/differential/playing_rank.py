"""A rank that does with each request what a test's table says, and reads HTTP by a library of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11

from tests.gateway.differential.behaviours import Behaviour, End, cut
from tests.gateway.differential.requests import NUMBER

PAUSE_S = 0.001


class PlayingRank:
    """`table`: what to do, by the request's number; `bodies`: what each request brought."""

    def __init__(self) -> None:
        self.port = 0
        self.table: list[Behaviour] = []
        self.bodies: dict[int, bytes] = {}

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (number := await self._read(reader)) is not None:
                behaviour = self.table[number]
                for part in cut(behaviour.wire[: behaviour.sent], list(behaviour.writes)):
                    writer.write(part)
                    await writer.drain()
                    if behaviour.pauses:
                        await asyncio.sleep(PAUSE_S)
                if behaviour.end is End.RESET:
                    writer.transport.abort()
                if behaviour.end is not End.KEPT:
                    return
        except (OSError, asyncio.CancelledError):
            pass  # the other side closed first, or the test is over
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> int | None:
        """The number of the next request, None if there is none."""
        connection, number, body = h11.Connection(h11.SERVER), None, b""
        while True:
            event = connection.next_event()
            match event:
                case h11.NEED_DATA:
                    connection.receive_data(await reader.read(65_536))
                case h11.Request():
                    number = int(dict(event.headers.raw_items())[NUMBER.encode()])
                case h11.Data():
                    body += event.data
                case h11.EndOfMessage():
                    assert number is not None
                    self.bodies[number] = body
                    return number
                case _:
                    return None


@asynccontextmanager
async def playing_rank() -> AsyncIterator[PlayingRank]:
    """Such a rank on a port of its own."""
    rank = PlayingRank()
    server = await asyncio.start_server(rank.handle, "127.0.0.1", 0)
    rank.port = server.sockets[0].getsockname()[1]
    try:
        yield rank
    finally:
        server.close()
