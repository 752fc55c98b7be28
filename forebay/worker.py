"""One worker of a gateway, as its supervisor sees it: a process, and the link to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import anyio
import msgspec
from anyio.abc import Process

from gateway.families import Family
from gateway.link import Answering, Link, LinkClosedError, open_link

COUNTED_WITHIN_S = 1.0
"""How long a worker may take to say what it has counted."""


class Shared(NamedTuple):
    """What all workers inherit: descriptors of the listening socket and of the memory with their connection counts.

    `has_site`: their supervisor answers for the site.
    """

    workers: int
    listener_fd: int
    counts_fd: int
    has_site: bool = False


class Worker:
    """A process that runs. Made by `started`; `counted` is what it last said that it had counted."""

    def __init__(self, index: int, process: Process, link: Link) -> None:
        self.index = index
        self.counted: tuple[Family, ...] = ()
        self.is_ready = False
        self._process = process
        self._link = link

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return f"worker-{self.index} (pid {self._process.pid})"

    async def run(self, answer: Answering, on_ready: Callable[[], None]) -> None:
        """Answer its questions until it has ended."""

        def note_ready(_: str) -> None:
            self.is_ready = True
            on_ready()

        with suppress(LinkClosedError):
            await self._link.run(answer, note_ready)
        await self._process.wait()

    async def count(self) -> None:
        """Have it say what it has counted; one that does not answer keeps what it said before."""
        with anyio.move_on_after(COUNTED_WITHIN_S), suppress(LinkClosedError):
            self.counted = msgspec.msgpack.decode(await self._link.ask(), type=tuple[Family, ...])

    def tell(self, received: signal.Signals) -> None:
        """Pass a signal on."""
        with suppress(ProcessLookupError):
            self._process.send_signal(received)

    def describe_end(self) -> str:
        """Its name, and how it ended."""
        code = self._process.returncode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"{self.name} {how}"


@asynccontextmanager
async def started(index: int, shared: Shared, environment: Mapping[str, str]) -> AsyncIterator[Worker]:
    """A worker, started; its settings are in the environment, since they hold keys. Ended by force if it still runs.

    It writes its log where ours goes, by itself: a line per request is too much to pass on.
    """
    ours, theirs = socket.socketpair()
    descriptors = (shared.listener_fd, shared.counts_fd, theirs.fileno())
    with theirs:
        process = await anyio.open_process(
            [
                *(sys.executable, "-m", "forebay", "--die-with", str(os.getpid()), "gateway-worker"),
                *("--worker", str(index), "--of", str(shared.workers), "--listener-fd", str(shared.listener_fd)),
                *("--counts-fd", str(shared.counts_fd), "--link-fd", str(theirs.fileno())),
                *(("--has-site",) if shared.has_site else ()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None,
            env=environment,
            start_new_session=True,
            pass_fds=descriptors,
        )
    async with process, open_link(ours) as link:
        yield Worker(index, process, link)
