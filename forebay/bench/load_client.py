"""The load client: a process that sends what it is told over a socket of its parent's, and says what came of it."""

from __future__ import annotations

import asyncio
import socket
import time
from functools import partial

import msgspec

from forebay.bench.jobs import Job, Outcome, request_bytes, spread
from forebay.bench.load_connection import LoadConnection, Tally
from forebay.bench.mock_wire import MODEL

LONGEST_LINE = 1 << 20


async def serve(descriptor: int) -> None:
    """Do one job after another until the parent closes its end."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor), limit=LONGEST_LINE)
    held: list[LoadConnection] = []
    while line := await reader.readline():
        for connection in held:
            connection.close()
        load = Load(msgspec.json.decode(line, type=Job))
        outcome = await load.run()
        held = load.connections
        writer.write(msgspec.json.encode(outcome) + b"\n")
        await writer.drain()
    writer.close()


class Load:
    """One job underway."""

    def __init__(self, job: Job) -> None:
        self.connections: list[LoadConnection] = []
        self._job = job
        self._tally = Tally()
        self._requests = [request_bytes(job, address, MODEL) for address in job.addresses]
        self._unsent = job.requests
        self._unanswered = job.requests
        self._unbegun = job.connections
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def run(self) -> Outcome:
        """Do it; never raises for what the other side does."""
        job, started_s = self._job, 0.0
        try:
            async with asyncio.timeout(job.deadline_s):
                for index in range(job.connections):
                    await self._connect(index)
                started_s = time.monotonic()
                for index, connection in enumerate(self.connections):
                    self._loop.call_later(index * job.ramp_s / job.connections, self._next, index, connection)
                await self._over.wait()
        except TimeoutError:
            self._tally.errors[f"not over after {job.deadline_s:g} s"] = self._unanswered
        except OSError as error:
            self._tally.errors[f"no connection: {error.strerror or error}"] = self._unanswered
        took_s = time.monotonic() - started_s if started_s else 0.0
        if not job.hold:
            for connection in self.connections:
                connection.close()
        return self._outcome(took_s)

    async def _connect(self, index: int) -> None:
        host, _, port = self._job.addresses[index % len(self._job.addresses)].rpartition(":")
        make = partial(
            LoadConnection, self._tally, self._job.tokens, streamed=self._job.streamed, begun=self._has_begun
        )
        _, connection = await self._loop.create_connection(make, host, int(port))
        connection.done = partial(self._done, index, connection)
        self.connections.append(connection)

    def _next(self, index: int, connection: LoadConnection) -> None:
        if self._unsent:
            self._unsent -= 1
            connection.ask(self._requests[index % len(self._requests)])

    def _done(self, index: int, connection: LoadConnection, usable: bool) -> None:
        self._unanswered -= 1
        if self._job.hold:
            # It has failed, before its first chunk or after; either way it is not waited for.
            self._has_begun()
        if self._unanswered == 0:
            self._over.set()
        elif self._unsent and not usable:
            self._tally.failed("connection closed after an answer")
            self._over.set()
        elif self._unsent:
            # Not from within the parser's callback.
            self._loop.call_soon(self._next, index, connection)

    def _has_begun(self) -> None:
        self._unbegun -= 1
        if self._job.hold and self._unbegun <= 0:
            self._over.set()

    def _outcome(self, took_s: float) -> Outcome:
        tally = self._tally
        return Outcome(
            answers=tally.answers,
            chunks=tally.chunks,
            took_s=took_s,
            first=spread(tally.first_ns),
            gap=spread(tally.gap_ns),
            delay=spread(tally.delay_ns),
            errors=tally.errors,
        )
