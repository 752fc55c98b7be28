"""One connection of a load test: sends a request, hands on the answer's body with the time at which it came."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import httptools

from forebay.load_test.answer import Answer

OK = 200


class Connection(asyncio.Protocol):
    """Asked one request at a time; `is_usable` until it closes."""

    def __init__(self) -> None:
        self.is_usable = True
        self.has_heard = False
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer()
        self._waiter: asyncio.Future[str] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """What is under way has failed, unless its stream is whole: an answer may end so (RFC 9112, 6.3)."""
        self.is_usable = False
        self._settle(self._error_of_stream() if self._answer.is_done else "connection lost")

    async def ask(self, request: bytes, answer: Answer) -> str:
        """Send a request and read its answer; "" if all is well, else what kind of error it was."""
        self._answer, self.has_heard = answer, False
        self._waiter = asyncio.get_running_loop().create_future()
        if self._transport is None or not self.is_usable:
            return "connection lost"
        self._transport.write(request)
        return await self._waiter

    def close(self) -> None:
        """Break it off."""
        self.is_usable = False
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self.has_heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
            self._settle("an answer that is no HTTP")

    def on_body(self, body: bytes) -> None:
        """httptools: a piece of the body."""
        if self._parser.get_status_code() == OK:
            self._answer.feed(body, time.monotonic())

    def on_message_complete(self) -> None:
        """httptools: the answer is complete."""
        status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.is_usable = False
        self._parser = httptools.HttpResponseParser(self)
        if status != OK:
            self._settle(f"status {status}")
        else:
            self._settle(self._error_of_stream())

    def _error_of_stream(self) -> str:
        answer = self._answer
        if answer.error or not answer.is_done:
            return answer.error or "a stream without [DONE]"
        return "" if answer.texts else "no text"

    def _settle(self, error: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(error)
