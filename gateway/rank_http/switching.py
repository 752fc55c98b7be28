"""An exchange in which the rank may change the protocol, as it is asked to."""

from __future__ import annotations

from gateway import websocket
from gateway.errors import RankFailedError
from gateway.rank_http.connection import Connection
from gateway.rank_http.deadlines import Deadlines
from gateway.rank_http.exchange import Exchange
from gateway.rank_http.head import SWITCHING, Head, HeadReader


class Switching(Exchange):
    """As an exchange; after a 101 the body is all that the rank sends. What is sent to it counts as a sign of life."""

    def __init__(self, connection: Connection, method: str, deadlines: Deadlines, began_s: float) -> None:
        super().__init__(connection, method, deadlines, began_s)
        self._reader = HeadReader(may_switch=True)

    @property
    def leaves_connection(self) -> bool:
        """Never after a change: what is left is no HTTP."""
        return not self._has_switched and super().leaves_connection

    async def send(self, data: bytes) -> None:
        """Send, and wait until all of it has left."""
        self._connection.write(data)
        self._came()
        await self._connection.drain()

    def end(self) -> None:
        """Nothing more will be sent."""
        self._connection.write_eof()

    @property
    def _has_switched(self) -> bool:
        return self._head is not None and self._head.status == SWITCHING

    def _feed_head(self, data: bytes) -> None:
        super()._feed_head(data)
        if self._has_switched and not self._has_begun:
            self._begin()


def require_switch(head: Head) -> None:
    """Raise RankFailedError unless a 101 says what was asked for, and no more (RFC 9110 sections 7.8 and 15.2.2)."""
    headers = [(name.lower(), value) for name, value in head.headers]
    if not websocket.is_asked_for(headers) or websocket.has_body(headers):
        raise RankFailedError("The rank changed to a protocol that nobody asked for")
