"""Clients that hang up at a random moment."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import anyio


async def at_once(_: asyncio.StreamReader) -> None:
    """Nothing need happen first."""


async def after_an_event(reader: asyncio.StreamReader) -> None:
    """Something of the stream must have come."""
    await reader.readuntil(b"data: ")


async def send_and_hang_up(
    port: int,
    raw: bytes,
    random: Random,
    *,
    within_s: float,
    earliest: Callable[[asyncio.StreamReader], Awaitable[None]] = at_once,
) -> None:
    """Send these bytes, read a little for up to `within_s` once `earliest` has returned, and close with FIN or RST."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    await earliest(reader)
    with anyio.move_on_after(random.uniform(0, within_s)):
        await reader.read(random.randrange(1, 5000))
    if random.random() < 0.5:
        writer.transport.abort()
    writer.close()
