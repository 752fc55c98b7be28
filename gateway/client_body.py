"""A client's body that passes through while it comes, never held as a whole."""

from __future__ import annotations

from collections import deque

import anyio
from starlette.types import Receive

from gateway.headers import Headers, first
from gateway.intake import too_large, wait_until_gone
from gateway.patience import Waiting


class ClientBody:
    """The parts of one body, to be iterated over once, while `watch` runs.

    To be closed with `close`. `declared_bytes` is its length, None where the client does not say, `taken_bytes` what
    has come of it. A part is not asked for before the one ahead of it is taken, so that a rank that reads slowly makes
    its client write slowly.
    """

    def __init__(self, receive: Receive, headers: Headers, *, max_bytes: int, waiting: Waiting) -> None:
        """Raises BodyTooLargeError from the declared length."""
        declared = first(headers, b"content-length")
        self.declared_bytes = None if declared is None else int(declared)
        if self.declared_bytes is not None and self.declared_bytes > max_bytes:
            raise too_large(max_bytes)
        self._receive = receive
        self.taken_bytes = 0
        self._max_bytes = max_bytes
        self._waiting = waiting
        self._ahead: deque[bytes] = deque()
        self._sink, self._parts = anyio.create_memory_object_stream[bytes](0)

    async def watch(self) -> None:
        """Take the body in, and return when the client leaves.

        Raises BodyTooLargeError from what has come, RequestTooSlowError when it comes too slowly.
        """
        if await self._take_in():
            self._sink.close()
            await wait_until_gone(self._receive)

    async def _take_in(self) -> bool:
        """Whether the client is still there at its body's end."""
        more = True
        while more:
            message = await self._waiting.next(self._receive, self.taken_bytes)
            if message["type"] == "http.disconnect":
                return False
            part = message.get("body", b"")
            self.taken_bytes += len(part)
            if self.taken_bytes > self._max_bytes:
                raise too_large(self._max_bytes)
            more = message.get("more_body", False)
            if part:
                await self._pass(part)
        return True

    async def _pass(self, part: bytes) -> None:
        try:
            await self._sink.send(part)
        except anyio.BrokenResourceError:
            self._waiting.forever()  # the rank has answered already: nobody waits for the rest

    async def look_ahead(self) -> bytes:
        """The next part, b"" at the end; it will be iterated over all the same."""
        part = await self._next()
        if part:
            self._ahead.append(part)
        return part

    def stop(self) -> None:
        """What still comes is for nobody."""
        self._parts.close()

    def close(self) -> None:
        """There is nobody left who reads it, nor any more to read."""
        self._sink.close()
        self._parts.close()

    def __aiter__(self) -> ClientBody:
        """Its parts, once."""
        return self

    async def __anext__(self) -> bytes:
        """The next part."""
        part = self._ahead.popleft() if self._ahead else await self._next()
        if not part:
            raise StopAsyncIteration
        return part

    async def _next(self) -> bytes:
        try:
            return await self._parts.receive()
        except anyio.EndOfStream:
            return b""
        except anyio.ClosedResourceError:
            while True:  # it was stopped; whoever asks for more must not take this for the body's end
                await anyio.sleep_forever()
