"""A server of a test ends with each of its connections."""

from __future__ import annotations

import asyncio

from tests.connections import HOST, handling


async def test_a_client_that_has_said_nothing_is_left_at_the_end() -> None:
    async def reads(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        begun.set()
        await reader.readuntil(b"\n")

    begun = asyncio.Event()
    async with handling(reads) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        await begun.wait()
    try:
        assert await reader.read() == b""
    except ConnectionResetError:
        pass
    finally:
        writer.close()


async def test_a_handler_that_waits_for_ever_ends_with_the_test() -> None:
    async def waits(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    begun, ended = asyncio.Event(), asyncio.Event()
    async with handling(waits) as port:
        _, writer = await asyncio.open_connection(HOST, port)
        await begun.wait()
    writer.close()
    assert ended.is_set()
