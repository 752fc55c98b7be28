"""Child processes with one life: they end with their owner, and one that ends by itself ends them all.

Each runs in a session of its own, so that Ctrl-C reaches only the owner, which ends its children in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ByteReceiveStream, Process, TaskGroup
from anyio.streams.text import TextReceiveStream

LAST_LINES = 15
LONGEST_LINE = 65_536
LAST_WORDS_TIMEOUT_S = 1.0

Hear = Callable[[str, str], None]
"""Called with a child's name and a line it said on standard error."""


class ChildEndedError(Exception):
    """A child ended that should run; the message has its name, how it ended and its last words."""


class Child:
    """One process: `python -m forebay ...`."""

    def __init__(self, name: str, process: Process, hear: Hear) -> None:
        self.name = name
        self.process = process
        self._ready_line = ""
        self._said_ready = anyio.Event()
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._hear = hear

    async def ready(self) -> str:
        """Wait for its ready line, the first one on standard output."""
        await self._said_ready.wait()
        return self._ready_line

    async def listen(self) -> None:
        """Follow both outputs to their ends."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen_to_output, name=f"output of {self.name}")
            async for line in _lines(self.process.stderr):
                self._last_lines.append(line)
                self._hear(self.name, line)

    async def _listen_to_output(self) -> None:
        async for line in _lines(self.process.stdout):
            self._last_lines.append(line)
            if not self._said_ready.is_set():
                self._ready_line = line
                self._said_ready.set()

    async def watch(self) -> None:
        """Wait for its end; the last words are in when this returns."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.listen, name=f"outputs of {self.name}")
            await self.process.wait()
            # A process it left behind may hold the pipes open.
            tasks.cancel_scope.deadline = anyio.current_time() + LAST_WORDS_TIMEOUT_S

    def describe_end(self) -> str:
        """Its name, how it ended, and its last words, for the user."""
        code = self.process.returncode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return "\n".join([f"{self.name} {how}", *(f"  {line}" for line in self._last_lines)])

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last it said."""
        return tuple(self._last_lines)

    def terminate(self) -> None:
        """Ask it to end."""
        with suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self) -> None:
        """End it and whatever it started."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


class Children:
    """The running children, in stages: those of the last stage are ended first. Made by `children`."""

    def __init__(self, tasks: TaskGroup, environment: Mapping[str, str], hear: Hear, stop_within_s: float) -> None:
        self._tasks = tasks
        self._stop_within_s = stop_within_s
        self._environment = environment
        self._hear = hear
        self._stages: list[list[Child]] = []
        self._stopping = False

    async def start_stage(self, commands: Mapping[str, Sequence[str]], variables: Mapping[str, str]) -> list[Child]:
        """Start a stage: by name, the arguments of `forebay`; `variables` are added to the environment."""
        stage: list[Child] = []
        self._stages.append(stage)
        for name, arguments in commands.items():
            process = await anyio.open_process(
                [sys.executable, "-m", "forebay", "--die-with", str(os.getpid()), *arguments],
                stdin=subprocess.DEVNULL,
                env={**self._environment, **variables},
                start_new_session=True,
            )
            child = Child(name, process, self._hear)
            stage.append(child)
            self._tasks.start_soon(self._watch, child, name=f"watch {name}")
        return stage

    async def _watch(self, child: Child) -> None:
        await child.watch()
        if not self._stopping:
            raise ChildEndedError(child.describe_end())

    async def stop(self) -> None:
        """End the stages, the last one first; who does not end in time is killed."""
        self._stopping = True
        for stage in reversed(self._stages):
            for child in stage:
                child.terminate()
            with anyio.move_on_after(self._stop_within_s):
                for child in stage:
                    await child.process.wait()
            for child in stage:
                child.kill()
                await child.process.aclose()

    def kill(self) -> None:
        """End all of them at once."""
        self._stopping = True
        for stage in self._stages:
            for child in stage:
                child.kill()


@asynccontextmanager
async def children(environment: Mapping[str, str], hear: Hear, stop_within_s: float) -> AsyncIterator[Children]:
    """Children that have all ended when the context is left; each stage gets `stop_within_s` for it.

    Raises ChildEndedError, in an exception group.
    """
    async with anyio.create_task_group() as tasks:
        running = Children(tasks, environment, hear, stop_within_s)
        try:
            yield running
        finally:
            with anyio.CancelScope(shield=True):
                await running.stop()


async def _lines(stream: ByteReceiveStream | None) -> AsyncIterator[str]:
    """The lines of a child's output, without their ends; an endless one is cut."""
    assert stream is not None
    rest = ""
    with suppress(anyio.ClosedResourceError):
        async for text in TextReceiveStream(stream, errors="replace"):
            *whole, rest = (rest + text).split("\n")
            for line in whole:
                yield line.rstrip("\r")
            if len(rest) > LONGEST_LINE:
                yield rest
                rest = ""
    if rest:
        yield rest
