"""Servers of tests that leave no connection open behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

HOST = "127.0.0.1"

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def handling(handle: Handle, port: int = 0) -> AsyncIterator[int]:
    """Has each connection to a port of 127.0.0.1 handled within the block; 0 stands for any free one. Yields the port.

    Those that are open at the end are broken off. Left to the event loop's end, they are found by a later test.
    """
    connections: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        connections[writer] = task
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await handle(reader, writer)
        finally:
            writer.close()
            del connections[writer]

    server = await asyncio.start_server(run, HOST, port)
    listening_at: int = server.sockets[0].getsockname()[1]
    try:
        yield listening_at
    finally:
        server.close()
        await asyncio.sleep(0)  # what was accepted in this turn has its handler begun
        tasks = list(connections.values())
        for writer, task in connections.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)  # an aborted transport closes its socket in the next turn
