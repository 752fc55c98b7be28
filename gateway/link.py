"""What a worker and its supervisor say to each other, over a socket pair: either asks, and the other answers.

A frame is its length in four bytes, and a message in msgpack.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import anyio
import msgspec

LENGTH_BYTES = 4


class LinkClosedError(OSError):
    """The other end has closed, as it does when its process ends."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker serves; `line` says so."""

    line: str


class Question(msgspec.Struct, frozen=True, tag=True):
    """A supervisor asks what a worker has counted; a worker what /metrics is to show, or, with a `body`, its site."""

    number: int
    body: bytes = b""


class Answer(msgspec.Struct, frozen=True, tag=True):
    """What was asked for under this number."""

    number: int
    body: bytes


Message = Ready | Question | Answer
Answering = Callable[[bytes], Awaitable[bytes]]
"""Called with a question's body."""


class Link:
    """One end. Made by `open_link`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._is_closed = False

    def ready(self, line: str) -> None:
        """Tell that this worker serves."""
        self._send(Ready(line))

    async def ask(self, body: bytes = b"") -> bytes:
        """What the other end answers. Raises LinkClosedError."""
        if self._is_closed:
            raise LinkClosedError("the link is closed")
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(Question(number, body))
            return await self._asked[number]
        finally:
            del self._asked[number]

    async def run(self, answer: Answering, on_ready: Callable[[str], None] | None = None) -> None:
        """Answer questions until the other end closes. Raises LinkClosedError then."""
        try:
            async with anyio.create_task_group() as tasks:
                async for message in self._messages():
                    match message:
                        case Question() as question:
                            tasks.start_soon(self._answer, question, answer, name=f"answer {question.number}")
                        case Answer(number=number, body=body):
                            # It may not be waited for any more.
                            if (asked := self._asked.get(number)) and not asked.done():
                                asked.set_result(body)
                        case Ready(line=line):
                            if on_ready is not None:
                                on_ready(line)
                tasks.cancel_scope.cancel()
        finally:
            self._is_closed = True
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(LinkClosedError("the link was closed"))
        raise LinkClosedError("the other end of the link has ended")

    async def _answer(self, question: Question, answer: Answering) -> None:
        self._send(Answer(question.number, await answer(question.body)))

    async def _messages(self) -> AsyncIterator[Message]:
        decoder = msgspec.msgpack.Decoder(Message)
        while True:
            try:
                size = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES), "big")
                frame = await self._reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            yield decoder.decode(frame)

    def _send(self, message: Message) -> None:
        frame = msgspec.msgpack.encode(message)
        self._writer.write(len(frame).to_bytes(LENGTH_BYTES, "big") + frame)


@asynccontextmanager
async def open_link(end: socket.socket) -> AsyncIterator[Link]:
    """The link over one end of a socket pair, which is closed with it."""
    reader, writer = await asyncio.open_unix_connection(sock=end)
    try:
        yield Link(reader, writer)
    finally:
        writer.close()
