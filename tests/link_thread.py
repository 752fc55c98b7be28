"""A link (tests/link.py) in a thread of its own, for tests whose event loop is another one, or none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.link import FINE, Link, Trouble, link
from tests.ports import free_port


class LinkThread:
    """Leads to a server on this machine, from a `port` of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, made: Link) -> None:
        self.port = made.port
        self._loop, self._link = loop, made

    def cut(self) -> None:
        """Nothing arrives any more, in neither direction, and nobody is told; new connections hear nothing either."""
        self._do(lambda: self._link.suffer(Trouble(partition=True)))

    def mend(self) -> None:
        """All is well again; what was on its way arrives after all, as TCP has it."""
        self._do(lambda: self._link.suffer(FINE))

    def slow(self, delay_s: float) -> None:
        """From now on each piece of data is so late."""
        self._do(lambda: self._link.suffer(Trouble(delay_s=delay_s)))

    def reset(self) -> None:
        """All connections are reset; new ones are taken."""
        self._do(self._link.reset)

    def _do(self, act: Callable[[], None]) -> None:
        """In the link's thread; returns when it is done."""
        done = threading.Event()

        def act_and_say() -> None:
            act()
            done.set()

        self._loop.call_soon_threadsafe(act_and_say)
        done.wait()


@contextmanager
def link_to(port: int) -> Iterator[LinkThread]:
    """A link at work until the block ends."""
    loop = asyncio.new_event_loop()
    made, ready, ended = Link(port, free_port()), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with link(made):
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="link")
    thread.start()
    ready.wait()
    try:
        yield LinkThread(loop, made)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
