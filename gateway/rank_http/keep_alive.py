"""The idle connections to ranks: how many are kept, and for how long."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from time import monotonic

from gateway.rank_http.connection import Connection
from gateway.rank_http.target import Origin

KEPT_S = 3.0
"""vLLM closes a connection that was idle for 5 s (its uvicorn's default); one that closes just then is of no use."""

MAX_PER_ORIGIN = 64
"""More are never idle at once in a steady load; what a burst has opened is not kept."""


class KeepAlive:
    """Idle connections, by where they go. The last one used is used again first, so that the others grow old."""

    def __init__(self) -> None:
        self._by_origin: defaultdict[Origin, dict[Connection, None]] = defaultdict(dict)
        self._by_age: dict[Connection, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._by_age)

    def take(self, origin: Origin) -> Connection | None:
        """A connection on which a request may be sent, if there is one."""
        while idle := self._by_origin.get(origin):
            connection = next(reversed(idle))
            self.drop(connection)
            if monotonic() - connection.idle_since_s < KEPT_S and not connection.is_stale():
                return connection
            connection.abort()
        return None

    def keep(self, connection: Connection) -> None:
        """Keep one whose last answer is complete; close it where there are enough of them."""
        idle = self._by_origin[connection.origin]
        if len(idle) >= MAX_PER_ORIGIN:
            connection.abort()
            return
        connection.resume_reading()
        connection.idle_since_s = monotonic()
        idle[connection] = self._by_age[connection] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEPT_S, self._sweep)

    def drop(self, connection: Connection) -> None:
        """Forget one, if it is here."""
        if connection in self._by_age:
            del self._by_age[connection]
            idle = self._by_origin[connection.origin]
            del idle[connection]
            if not idle:
                del self._by_origin[connection.origin]

    def close_oldest(self) -> None:
        """Close the one that was idle for longest."""
        oldest = next(iter(self._by_age))
        self.drop(oldest)
        oldest.abort()

    def close(self) -> None:
        """Close all."""
        while self._by_age:
            self.close_oldest()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        """Close those that have been idle for too long, and come again for the rest."""
        self._timer = None
        now_s = monotonic()
        while self._by_age:
            left_s = next(iter(self._by_age)).idle_since_s + KEPT_S - now_s
            if left_s > 0:
                self._timer = asyncio.get_running_loop().call_later(left_s, self._sweep)
                return
            self.close_oldest()
