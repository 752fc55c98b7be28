"""The benchmark's side of its load client: a job goes out, its outcome comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from forebay.bench.errors import BenchError
from forebay.bench.jobs import Job, Outcome
from forebay.bench.load_client import LONGEST_LINE
from forebay.bench.processes import Processes


class Loader:
    """Made by `loader`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def run(self, job: Job) -> Outcome:
        """Have a job done. Raises BenchError when the load client has ended."""
        self._writer.write(msgspec.json.encode(job) + b"\n")
        await self._writer.drain()
        line = await self._reader.readline()
        if not line:
            raise BenchError("the load client has ended")
        return msgspec.json.decode(line, type=Outcome)


@asynccontextmanager
async def loader(running: Processes) -> AsyncIterator[Loader]:
    """A load client in a process of its own, so that it does not wait for what is done here."""
    ours, its = socket.socketpair()
    with its:
        await running.forebay("load client", "bench-load", "--descriptor", str(its.fileno()), pass_fds=(its.fileno(),))
    reader, writer = await asyncio.open_connection(sock=ours, limit=LONGEST_LINE)
    try:
        yield Loader(reader, writer)
    finally:
        writer.close()
