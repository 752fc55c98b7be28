"""One connection of the load client: sends a request, reads the answer, notes when its chunks came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import cast

import httptools

from forebay.bench.mock_wire import DONE
from forebay.bench.stamps import stamps_in

OK = 200


class Tally:
    """What the connections of one job have seen."""

    def __init__(self) -> None:
        self.answers = 0
        self.chunks = 0
        self.first_ns: list[int] = []
        self.gap_ns: list[int] = []
        self.delay_ns: list[int] = []
        self.errors: dict[str, int] = {}

    def failed(self, kind: str) -> None:
        """One more request that failed."""
        self.errors[kind] = self.errors.get(kind, 0) + 1


class LoadConnection(asyncio.Protocol):
    """`begun` is called at each first chunk, `done` at each answer's end, whether it can be used again in the argument.

    A connection that is lost in the middle of an answer calls `done` too.
    """

    def __init__(self, tally: Tally, tokens: int, *, streamed: bool, begun: Callable[[], None]) -> None:
        self.done: Callable[[bool], None] = _nothing
        self._tally = tally
        self._expected = tokens if streamed else 1
        self._streamed = streamed
        self._begun = begun
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._asking = False
        self._asked_ns = 0
        self._seen = 0
        self._last_ns = (0, 0)
        self._rest = b""
        self._is_done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer that it cuts has failed, unless the client closed the connection itself."""
        self._transport = None
        if self._asking:
            self._end("connection lost", again=False)

    def ask(self, request: bytes) -> None:
        """Send the next request; only when there is none underway."""
        self._asking, self._seen, self._rest, self._is_done = True, 0, b"", False
        if self._transport is None:
            self._end("connection lost", again=False)
        else:
            self._asked_ns = time.monotonic_ns()
            self._transport.write(request)

    def close(self) -> None:
        """Close it; nothing is called any more."""
        self._asking = False
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if not self._asking:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"no HTTP: {error}", again=False)
            self.close()

    def on_body(self, body: bytes) -> None:
        """httptools: a piece of the body; its chunks are complete where an event ends."""
        events = self._rest + body
        end = events.rfind(b"\n\n") + 2 if self._streamed else 0
        if end < len(b"\n\n"):
            self._rest = events
        else:
            self._rest = events[end:]
            self._is_done = events.endswith(DONE)
            self._note(events[:end])

    def on_message_complete(self) -> None:
        """httptools: the answer is complete."""
        if not self._streamed:
            self._note(self._rest)
        status = self._parser.get_status_code()
        if status != OK:
            error = f"status {status}"
        elif self._seen != self._expected:
            error = f"{self._seen} chunks of {self._expected}"
        elif self._streamed and not self._is_done:
            error = "no [DONE]"
        else:
            error = ""
        again = self._parser.should_keep_alive()
        self._parser = httptools.HttpResponseParser(self)
        self._end(error, again=again)

    def _note(self, events: bytes) -> None:
        now_ns = time.monotonic_ns()
        tally = self._tally
        for sent_ns, arrived_ns in stamps_in(events):
            tally.delay_ns.append(now_ns - sent_ns)
            if self._seen:
                received_ns, before_ns = self._last_ns
                tally.gap_ns.append((now_ns - received_ns) - (sent_ns - before_ns))
            else:
                tally.first_ns.append((now_ns - self._asked_ns) - (sent_ns - arrived_ns))
            self._last_ns = now_ns, sent_ns
            self._seen += 1
            tally.chunks += 1
            if self._seen == 1:
                self._begun()

    def _end(self, error: str, *, again: bool) -> None:
        self._asking = False
        if error:
            self._tally.failed(error)
        else:
            self._tally.answers += 1
        self.done(again)


def _nothing(_: bool) -> None:
    """Nobody waits for an answer yet."""
