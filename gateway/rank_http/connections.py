"""All connections of a gateway to its ranks: opens them, within a limit, and closes them."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import cached_property

import anyio

from gateway.errors import RankUnreachableError, TooManyConnectionsError
from gateway.rank_http.connection import Connection
from gateway.rank_http.deadlines import Deadlines
from gateway.rank_http.keep_alive import KeepAlive
from gateway.rank_http.target import NO_ADDRESS, NOT_ALLOWED, Origin
from gateway.rank_http.vanished import expect_answers
from scheduler.endpoints import AllowedHosts

log = logging.getLogger(__name__)

MOST_NOTED = 1_000
"""Origins of which it is noted why they were not trusted, so that the log has it once."""


class Connections:
    """At most `max_connections`, in use and idle together; `connect_s` to wait for a free one, and then to connect.

    Only what is on one of the `hosts` is connected to; what is on https has to be whom `tls` trusts, else those whom
    the system does.
    """

    def __init__(
        self, deadlines: Deadlines, max_connections: int, tls: ssl.SSLContext | None = None, hosts: Iterable[str] = ()
    ) -> None:
        self._connect_s, self._vanished_s = deadlines.connect_s, deadlines.vanished_s
        self._max_connections = max_connections
        self._given_tls = tls
        self._allowed = AllowedHosts(hosts)
        self._distrusted: dict[Origin, str] = {}
        self._free = anyio.Semaphore(max_connections, fast_acquire=True)
        self._kept = KeepAlive()
        self._open: set[Connection] = set()
        self._is_closed = False
        self._all_lost = anyio.Event()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """The right to one connection. Raises TooManyConnectionsError."""
        try:
            self._free.acquire_nowait()
        except anyio.WouldBlock:
            await self._wait()
        try:
            yield
        finally:
            self._free.release()

    async def _wait(self) -> None:
        with anyio.move_on_after(self._connect_s) as patience:
            await self._free.acquire()
        if patience.cancelled_caught:
            raise TooManyConnectionsError("All connections to ranks are in use", retry_after_ms=1000)

    def kept(self, origin: Origin) -> Connection | None:
        """An idle connection, if there is one."""
        return self._kept.take(origin)

    async def opened(self, origin: Origin) -> Connection:
        """A new connection. Raises RankUnreachableError."""
        if not self._allowed.admits(origin.host):
            raise RankUnreachableError(NOT_ALLOWED)
        busy = self._max_connections - self._free.value
        while len(self._kept) and busy + len(self._kept) > self._max_connections:
            self._kept.close_oldest()
        try:
            with anyio.move_on_after(self._connect_s):
                return await self._connect(origin)
        except ssl.SSLError as error:
            self._note_distrust(origin, error)
            raise RankUnreachableError("The rank is not trusted, or speaks no TLS") from error
        except OSError as error:
            raise RankUnreachableError("The rank does not take connections") from error
        except UnicodeError as error:
            raise RankUnreachableError(NO_ADDRESS) from error
        raise RankUnreachableError("The rank does not take connections")

    def give_back(self, connection: Connection) -> None:
        """Keep it for another request."""
        if connection.is_closing or self._is_closed:
            connection.abort()
        else:
            self._kept.keep(connection)

    async def aclose(self) -> None:
        """Close all, and wait until their sockets are closed."""
        self._is_closed = True
        self._kept.close()
        for connection in tuple(self._open):
            connection.abort()
        if self._open:
            self._all_lost = anyio.Event()
            await self._all_lost.wait()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or ssl.create_default_context()

    def _note_distrust(self, origin: Origin, error: ssl.SSLError) -> None:
        why = str(error)
        if self._distrusted.get(origin) == why:
            return
        if len(self._distrusted) >= MOST_NOTED:
            self._distrusted.clear()
        self._distrusted[origin] = why
        log.warning("rank %s port %d is not sent anything: %s", origin.host, origin.port, why)

    async def _connect(self, origin: Origin) -> Connection:
        transport, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(origin, self._lost), origin.host, origin.port, ssl=self._tls if origin.tls else None
        )
        if not connection.is_closing:
            expect_answers(transport.get_extra_info("socket").fileno(), self._vanished_s)
            self._open.add(connection)
        return connection

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._kept.drop(connection)
        if not self._open:
            self._all_lost.set()
