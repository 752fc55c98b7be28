"""The processes of a benchmark: each is started, heard, and ended by its pid; one that ends early ends no other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from forebay.children import Child

STOP_WITHIN_S = 5.0


class Processes:
    """Made by `processes`."""

    def __init__(self, tasks: TaskGroup, environment: Mapping[str, str]) -> None:
        self._tasks = tasks
        self._environment = environment
        self._started: list[Child] = []

    async def forebay(self, name: str, *arguments: str, pass_fds: Sequence[int] = (), cwd: str | None = None) -> Child:
        """Start a command of ours."""
        process = await anyio.open_process(
            [sys.executable, "-m", "forebay", "--log-level", "warning", "--die-with", str(os.getpid()), *arguments],
            stdin=subprocess.DEVNULL,
            env=self._environment,
            start_new_session=True,
            pass_fds=pass_fds,
            cwd=cwd,
        )
        child = Child(name, process, _no_ear)
        self._started.append(child)
        self._tasks.start_soon(child.watch, name=f"watch {name}")
        return child

    async def other(self, name: str, command: Sequence[str], cwd: str) -> Child:
        """Start another program. It ends with us: what the kernel was told of our command holds for it too."""
        return await self.forebay(name, "bench-peer", "--", *command, cwd=cwd)

    async def stop(self) -> None:
        """End them, the last one first; who does not end in time is killed."""
        for child in reversed(self._started):
            child.terminate()
            with anyio.move_on_after(STOP_WITHIN_S):
                await child.process.wait()
            child.kill()
            await child.process.aclose()


@asynccontextmanager
async def processes(environment: Mapping[str, str]) -> AsyncIterator[Processes]:
    """Processes that have all ended when the context is left."""
    async with anyio.create_task_group() as tasks:
        running = Processes(tasks, environment)
        try:
            yield running
        finally:
            with anyio.CancelScope(shield=True):
                await running.stop()


def _no_ear(_name: str, _line: str) -> None:
    """What a process says is told when it ends, not while others are measured."""
