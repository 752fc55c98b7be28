"""A rank that says how much of a request's body it has, while it comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

READ_BYTES = 65_536


class ReceivingRank:
    """Answers when the body is complete, or has `answers_after_bytes`; reads while `reads_on` is set.

    `received_bytes` is the last body's length so far, framing excluded.
    """

    answer = b'{"text":"hello","usage":{"type":"duration","seconds":1}}'

    def __init__(self) -> None:
        self.reads_on = asyncio.Event()
        self.reads_on.set()
        self.answers_after_bytes = 1 << 40
        self.received_bytes = 0
        self.open_connections = 0
        self.url = ""
        self._headers: dict[str, str] = {}

    def header(self, name: str) -> str | None:
        """A header of the last request."""
        return self._headers.get(name)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = [line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:-2]]
                self._headers = {name.lower(): value.strip() for name, _, value in lines}
                self.received_bytes = 0
                await self._take_in(reader)
                framing = f"content-type: application/json\r\ncontent-length: {len(self.answer)}"
                writer.write(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode() + self.answer)
                await writer.drain()
                if self.received_bytes >= self.answers_after_bytes:
                    await reader.read()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the gateway closed first, or the test is over
        finally:
            self.open_connections -= 1
            writer.close()

    async def _take_in(self, reader: asyncio.StreamReader) -> None:
        length = self.header("content-length")
        if length is not None:
            await self._read(reader, int(length))
            return
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await self._read(reader, size)
            if self.received_bytes >= self.answers_after_bytes:
                return
            await reader.readexactly(2)
        await reader.readexactly(2)

    async def _read(self, reader: asyncio.StreamReader, size: int) -> None:
        while size and self.received_bytes < self.answers_after_bytes:
            await self.reads_on.wait()
            part = await reader.read(min(size, READ_BYTES))
            if not part:
                raise asyncio.IncompleteReadError(b"", size)
            size -= len(part)
            self.received_bytes += len(part)


@asynccontextmanager
async def receiving_rank() -> AsyncIterator[ReceivingRank]:
    """Such a rank on a port of its own."""
    rank = ReceivingRank()
    server = await asyncio.start_server(rank.handle, "127.0.0.1", 0)
    rank.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield rank
    finally:
        server.close()
