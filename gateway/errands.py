"""Small jobs that outlive the request they come from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup


class Errands:
    """The jobs of one process; each is bounded, and over before the process is."""

    def __init__(self) -> None:
        self._group: TaskGroup | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None, None]:
        """Take jobs until the block ends, and wait for the last of them."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                yield
            finally:
                self._group = None

    def run(self, job: Callable[[], Awaitable[None]], name: str, within_s: float) -> None:
        """Start a job and return at once."""
        assert self._group is not None, "errands are opened before the first request"
        self._group.start_soon(_run, job, within_s, name=name)


async def _run(job: Callable[[], Awaitable[None]], within_s: float) -> None:
    with anyio.move_on_after(within_s, shield=True):
        await job()
