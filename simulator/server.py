"""Runs one simulated rank as a server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from simulator import routes
from simulator.http import HttpProtocol
from simulator.rank import Rank
from simulator.settings import RankSettings

_BACKLOG = 2048


class ListenError(OSError):
    """The address to listen on cannot be had."""


async def serve(settings: RankSettings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM, SIGINT or cancellation.

    `ready` gets one line naming the URL once the port is bound. The end comes at once: the listener and every
    connection are closed, whatever is in flight. (A real vLLM with its default --shutdown-timeout 0 kills its engine
    and leaves those connections hanging.) Raises ListenError.
    """
    rank = Rank(settings)
    loop = asyncio.get_running_loop()
    protocol = partial(HttpProtocol, partial(routes.handle, rank), rank.connections)
    try:
        server = await loop.create_server(protocol, settings.host, settings.port, backlog=_BACKLOG)
    except OSError as error:
        # asyncio's own words repeat the address; a name that cannot be resolved has a negative number.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        raise ListenError(f"cannot listen on {settings.host} port {settings.port}: {why}") from error
    try:
        port = server.sockets[0].getsockname()[1]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        with _ended_by_signal(loop) as ended:
            ready(f"rank ready: http://{host}:{port} (model {settings.model}, {settings.role})")
            await ended.wait()
    finally:
        server.close()
        rank.close()
        await server.wait_closed()


@contextmanager
def _ended_by_signal(loop: asyncio.AbstractEventLoop) -> Iterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    try:
        yield ended
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
