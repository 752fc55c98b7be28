"""A name that can lead elsewhere: a TCP port that forwards each new connection to wherever it leads at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.ports import HOST

CHUNK_BYTES = 65_536


class Forwarder:
    """Listens on `port` of the loopback address; connections that are open stay where they are."""

    def __init__(self, leads_to: int) -> None:
        self.leads_to = leads_to
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side closes it."""
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(HOST, self.leads_to)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(reader, far_writer), name="there")
                tasks.create_task(_pump(far_reader, writer), name="back")
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
    finally:
        writer.close()


@asynccontextmanager
async def forwarding(leads_to: int) -> AsyncIterator[Forwarder]:
    """A forwarder at work until the block ends."""
    forwarder = Forwarder(leads_to)
    async with await asyncio.start_server(forwarder.serve, HOST, 0) as server:
        forwarder.port = server.sockets[0].getsockname()[1]
        yield forwarder
