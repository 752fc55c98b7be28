"""A rank that does to the letter what a test says, down to the bytes on the socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from tests.connections import handling

COMPLETION = (
    b'{"id":"cmpl-1","object":"text_completion","created":1,"model":"sim","choices":[{"index":0,"text":"hi",'
    b'"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":12,"total_tokens":13,"completion_tokens":1}}'
)
EVENTS = (
    b'data: {"id":"cmpl-1","object":"text_completion","choices":[{"index":0,"text":"h","finish_reason":null}]}\n\n',
    b'data: {"id":"cmpl-1","object":"text_completion","choices":[{"index":0,"text":"i","finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
)
USAGE = b'"usage":{"prompt_tokens":12,"total_tokens":14,"completion_tokens":2}'
USAGE_EVENT = b'data: {"id":"cmpl-1","choices":[],%b}\n\n' % USAGE
"""What comes before the last event where it is asked for."""
WITH_USAGE = (*EVENTS[:-1], USAGE_EVENT, EVENTS[-1])
ABORTED_EVENT = b'data: {"choices":[{"index":0,"text":"","finish_reason":"abort"}]}\n\n'
"""How a vLLM that is told to stop ends a stream."""

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
NO_MORE = b"0\r\n\r\n"


class RankRequest(NamedTuple):
    """What arrived, as it was sent."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Exchange:
    """One request being answered."""

    def __init__(self, request: RankRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self._reader = reader
        self._writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()

    async def answer(self, status: str, body: bytes, *headers: str) -> None:
        lines = "".join(f"{header}\r\n" for header in headers)
        head = f"HTTP/1.1 {status}\r\n{lines}content-length: {len(body)}\r\n\r\n"
        await self.send(head.encode() + body)

    async def until_closed(self) -> None:
        """Wait for the other side to close."""
        await self._reader.read()

    def abort(self) -> None:
        """Break the connection off."""
        self._writer.transport.abort()

    def close(self) -> None:
        """Close the connection in order."""
        self._writer.close()


Script = Callable[[Exchange], Awaitable[None]]


def chunk(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part)


async def completes(exchange: Exchange) -> None:
    await exchange.answer("200 OK", COMPLETION, "content-type: application/json")


async def streams(exchange: Exchange) -> None:
    events = WITH_USAGE if b'"include_usage":true' in exchange.request.body else EVENTS
    await exchange.send(STREAM_HEAD, *map(chunk, events), NO_MORE)


async def stalls(exchange: Exchange) -> None:
    """Never answers."""
    await exchange.until_closed()


async def stalls_after_an_event(exchange: Exchange) -> None:
    await exchange.send(STREAM_HEAD, chunk(EVENTS[0]))
    await exchange.until_closed()


async def some_turns(count: int) -> None:
    """Let whoever else is in this event loop go on, so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


def streaming(*parts: bytes) -> Script:
    """Streams these parts and ends properly."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, *map(chunk, parts), NO_MORE)

    return script


async def breaks_off(exchange: Exchange) -> None:
    """Dies before it answers."""
    exchange.abort()


async def dies_in_its_answer(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
    exchange.abort()


class ScriptedRank:
    """Answers each request by `script`; remembers requests and counts open connections."""

    def __init__(self) -> None:
        self.script: Script = completes
        self.requests: list[RankRequest] = []
        self.open_connections = 0
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_connections += 1
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                await self.script(Exchange(request, reader, writer))
        except OSError:
            pass  # the gateway closed first, or the test is over
        finally:
            self.open_connections -= 1


async def _read(reader: asyncio.StreamReader) -> RankRequest | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = int(dict(headers).get("content-length", "0"))
    return RankRequest(line, headers, await reader.readexactly(length))


@asynccontextmanager
async def scripted_rank(script: Script = completes, port: int = 0) -> AsyncIterator[ScriptedRank]:
    """A scripted rank on a port of its own, or this one."""
    rank = ScriptedRank()
    rank.script = script
    async with handling(rank.handle, port) as listening_at:
        rank.url = f"http://127.0.0.1:{listening_at}"
        yield rank
