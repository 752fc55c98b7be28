"""Sends a load test's requests when they are due, and notes what came of each."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from forebay.load_test.answer import Answer
from forebay.load_test.connection import Connection
from forebay.load_test.requests import Target, body, request
from forebay.load_test.sample import Sample
from forebay.load_test.settings import LoadTestSettings
from forebay.load_test.workload import Planned

Heard = Callable[[Sample], None]
"""Called with each request that is over."""


class Load:
    """`targets` take turns. `most_at_once`: how many requests were under way together."""

    def __init__(
        self, settings: LoadTestSettings, model: str, targets: Iterable[Target], tls: ssl.SSLContext | None
    ) -> None:
        self.most_at_once = 0
        self.samples: list[Sample] = []
        self._settings = settings
        self._model = model
        self._targets = itertools.cycle(targets)
        self._tls = tls
        self._idle: defaultdict[Target, list[Connection]] = defaultdict(list)
        self._under_way = 0

    async def run(self, planned: Iterable[Planned], heard: Heard) -> float:
        """Send all and wait for their ends; the seconds it took."""
        slots = asyncio.Semaphore(self._settings.max_concurrency)
        started_s = held_until_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for each in planned:
                where = next(self._targets)
                content = request(where, body(self._settings, self._model, each))
                await _until(started_s + each.due_s)
                is_full = slots.locked()
                await slots.acquire()
                if is_full:
                    held_until_s = time.monotonic()
                # Who was due before that stood behind one that was held, even if several slots came free together.
                held = is_full or started_s + each.due_s < held_until_s
                task = tasks.create_task(self._one(started_s, each, where, content, held=held))
                task.add_done_callback(lambda done: _over(done, slots, heard))
        return time.monotonic() - started_s

    def close(self) -> None:
        """Close what is idle."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def _one(self, started_s: float, planned: Planned, where: Target, content: bytes, *, held: bool) -> Sample:
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        sent_s = time.monotonic()
        answer = Answer()
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                error = await self._ask(where, content, answer)
        except TimeoutError:
            error = f"not over after {self._settings.request_timeout_s:g} s"
        except OSError as failure:
            error = f"no connection: {failure.strerror or failure}"
        finally:
            self._under_way -= 1
        sample = Sample(
            due_s=planned.due_s,
            sent_s=sent_s - started_s,
            held=held,
            end_s=time.monotonic() - started_s,
            error=error,
            first_s=answer.first_s - started_s,
            last_s=answer.last_s - started_s,
            prompt_tokens=answer.prompt_tokens,
            output_tokens=answer.output_tokens,
            gaps_s=answer.gaps_s,
        )
        self.samples.append(sample)
        return sample

    async def _ask(self, where: Target, content: bytes, answer: Answer) -> str:
        connection = self._reused(where)
        was_used = connection is not None
        while True:
            if connection is None:
                connection = await self._connect(where)
            try:
                error = await connection.ask(content, answer)
            except asyncio.CancelledError:
                connection.close()
                raise
            if connection.is_usable:
                self._idle[where].append(connection)
            if not (was_used and error == "connection lost" and not connection.has_heard):
                return error
            # The server had closed it while it was idle.
            connection, was_used = None, False

    def _reused(self, where: Target) -> Connection | None:
        idle = self._idle[where]
        while idle:
            connection = idle.pop()
            if connection.is_usable:
                return connection
        return None

    async def _connect(self, where: Target) -> Connection:
        secure = (self._tls or ssl.create_default_context()) if where.secure else None
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection, where.host, where.port, ssl=secure
        )
        return connection


async def _until(time_s: float) -> None:
    """Wait for a time of the monotonic clock; lets others run in any case."""
    await asyncio.sleep(max(0.0, time_s - time.monotonic()))


def _over(done: asyncio.Task[Sample], slots: asyncio.Semaphore, heard: Heard) -> None:
    slots.release()
    if not done.cancelled() and done.exception() is None:
        heard(done.result())
