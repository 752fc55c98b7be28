"""Sends a request's body while its answer may already be coming."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from types import TracebackType

import anyio

from gateway.errors import InvalidRequestError
from gateway.rank_http.connection import Connection
from gateway.rank_http.exchange import EXPECTED, Exchange

WRONG_LENGTH = "The request's body is not as long as its head says"


class Sending:
    """A body in parts, sent as long as the block runs. `length` as the head says it, None for chunks.

    What its iterator raises ends the exchange with that error. Leaving stops the sending; who made the iterator
    closes it.
    """

    def __init__(
        self, connection: Connection, exchange: Exchange, parts: AsyncIterator[bytes], length: int | None
    ) -> None:
        self._connection = connection
        self._exchange = exchange
        self._parts = parts
        self._length = length
        self._tasks = anyio.create_task_group()

    async def __aenter__(self) -> None:
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._send, name="request body")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        # The block's own errors are not for the group, which would wrap them.
        if isinstance(error, asyncio.CancelledError):
            await self._tasks.__aexit__(kind, error, trace)
        else:
            await self._tasks.__aexit__(None, None, None)

    async def _send(self) -> None:
        try:
            await self._send_parts()
        except EXPECTED as error:
            self._exchange.fail(error)

    async def _send_parts(self) -> None:
        connection, exchange, left = self._connection, self._exchange, self._length
        exchange.waits_for_client = True
        async for part in self._parts:
            exchange.waits_for_client, exchange.asked_since_s = False, monotonic()
            if left is None:
                connection.write(b"%x\r\n%b\r\n" % (len(part), part) if part else b"")
            else:
                left -= len(part)
                if left < 0:
                    raise InvalidRequestError(WRONG_LENGTH)
                connection.write(part)
            await connection.drain()
            if connection.is_closing:
                return
            exchange.waits_for_client = True
        exchange.waits_for_client, exchange.asked_since_s = False, monotonic()
        if left is None:
            connection.write(b"0\r\n\r\n")
        elif left:
            raise InvalidRequestError(WRONG_LENGTH)
        connection.end_request()
