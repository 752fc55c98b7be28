"""One request on a connection of its own, with all that its client sees, silence and cuts included."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httptools

from tests.chaos.judging import Ending, Observed
from tests.chaos.workload import Asked
from tests.ports import HOST


class _Reading(asyncio.Protocol):
    """Reads one answer; `ended` is set with how it ended."""

    def __init__(self, leaves_after_bytes: int | None) -> None:
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.body = bytearray()
        self.first_byte_s: float | None = None
        self._leaves_after_bytes = leaves_after_bytes
        self._parser: Any = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end("garbled")
        if self._leaves_after_bytes is not None and len(self.body) > self._leaves_after_bytes:
            self._end("left")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("reset" if exc else "closed")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.first_byte_s = self.first_byte_s or time.monotonic()
        self.body += body

    def on_message_complete(self) -> None:
        self._end("complete")

    def _end(self, ending: Ending) -> None:
        if not self.ended.done():
            self.ended.set_result(ending)


async def ask(port: int, asked: Asked, within_s: float) -> Observed:
    """Sends the request to a router on this machine; never raises for what goes wrong on the way."""
    sent_s = time.monotonic()
    reading = _Reading(asked.leaves_after_bytes)
    head = (
        f"POST {asked.path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
        f"X-Request-Id: {asked.id}\r\nContent-Length: {len(asked.body)}\r\n\r\n"
    )
    ending: Ending = "timeout"
    transport: asyncio.Transport | None = None
    try:
        async with asyncio.timeout(within_s):
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: reading, HOST, port)
            transport.write(head.encode() + asked.body)
            if asked.leaves_after_bytes == 0:
                await asyncio.sleep(asked.number % 5 / 50)
                ending = "left"
            else:
                ending = await reading.ended
    except TimeoutError:
        pass
    except OSError:
        ending = "refused"
    finally:
        if transport is not None:
            transport.abort()
    return Observed(reading.status, bytes(reading.body), ending, sent_s, time.monotonic(), reading.first_byte_s)
