"""A link that goes wrong does so as a network does."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.link import FINE, Link, Trouble, link
from tests.polling import until
from tests.ports import HOST, free_port

LATE_S = 0.1


@asynccontextmanager
async def echo_behind_a_link() -> AsyncIterator[Link]:
    """A server that says each piece again, and a link to it."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionResetError):
                while piece := await reader.read(1000):
                    writer.write(piece)
        finally:
            writer.close()

    async with (
        await asyncio.start_server(echo, HOST, 0) as server,
        link(Link(server.sockets[0].getsockname()[1], free_port())) as made,
    ):
        yield made


@asynccontextmanager
async def connected(to: Link) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, to.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_a_fine_link_passes_all_on_and_closes_when_its_end_does() -> None:
    async with echo_behind_a_link() as made, connected(made) as (reader, writer):
        writer.write(b"POST 1")
        assert await reader.readexactly(6) == b"POST 1"
        writer.write_eof()
        assert await reader.read() == b""


async def test_a_link_passes_on_what_its_end_says_first() -> None:
    async def welcome(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome")
        writer.close()

    async with (
        await asyncio.start_server(welcome, HOST, 0) as server,
        link(Link(server.sockets[0].getsockname()[1], free_port(), greets=True)) as made,
        connected(made) as (reader, _),
    ):
        assert await reader.read() == b"welcome"


async def test_what_is_sent_during_a_partition_arrives_after_it() -> None:
    async with echo_behind_a_link() as made, connected(made) as (reader, writer):
        writer.write(b"POST 1")
        await reader.readexactly(6)
        made.suffer(Trouble(partition=True))
        writer.write(b"2")
        async with connected(made) as (late_reader, late_writer):
            late_writer.write(b"POST 3")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readexactly(1), LATE_S)
            made.suffer(FINE)
            assert await reader.readexactly(1) == b"2"
            assert await late_reader.readexactly(6) == b"POST 3"


async def test_a_reset_ends_connections_at_both_ends_and_new_ones_after_their_first_bytes() -> None:
    async with echo_behind_a_link() as made, connected(made) as (reader, writer):
        writer.write(b"POST 1")
        await reader.readexactly(6)
        made.suffer(Trouble(reset=True))
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        async with connected(made) as (late_reader, late_writer):
            late_writer.write(b"POST 2")
            with pytest.raises(ConnectionResetError):
                await late_reader.readexactly(1)


async def test_latency_holds_each_piece_back() -> None:
    async with echo_behind_a_link() as made, connected(made) as (reader, writer):
        made.suffer(Trouble(delay_s=LATE_S))
        before_s = time.monotonic()
        writer.write(b"POST 1")
        await reader.readexactly(6)
        assert time.monotonic() - before_s >= 2 * LATE_S


async def test_garbage_comes_in_place_of_answers_to_requests_and_not_to_looks() -> None:
    async with echo_behind_a_link() as made:
        made.suffer(Trouble("requests", garbage=b"banana"))
        async with connected(made) as (reader, writer):
            writer.write(b"POST 1")
            assert await reader.read() == b"banana"
        async with connected(made) as (reader, writer):
            writer.write(b"GET 1")
            assert await reader.readexactly(5) == b"GET 1"


async def test_a_connection_that_was_looked_through_is_troubled_when_a_request_comes_on_it() -> None:
    async with echo_behind_a_link() as made, connected(made) as (reader, writer):
        writer.write(b"GET 1")
        assert await reader.readexactly(5) == b"GET 1"
        made.suffer(Trouble("requests", garbage=b"banana"))
        writer.write(b"GET 2")
        assert await reader.readexactly(5) == b"GET 2"
        writer.write(b"POST 3")
        assert await reader.readexactly(6) == b"banana"


async def test_a_connection_that_was_looked_through_is_reset_when_a_request_comes_on_it() -> None:
    async with echo_behind_a_link() as made, connected(made) as (reader, writer):
        writer.write(b"GET 1")
        assert await reader.readexactly(5) == b"GET 1"
        made.suffer(Trouble("requests", reset=True))
        writer.write(b"GET 2")
        assert await reader.readexactly(5) == b"GET 2"
        writer.write(b"POST 3")
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)


async def test_a_look_through_a_connection_of_requests_is_not_troubled_as_they_are() -> None:
    async with echo_behind_a_link() as made, connected(made) as (reader, writer):
        writer.write(b"POST 1")
        assert await reader.readexactly(6) == b"POST 1"
        made.suffer(Trouble("requests", garbage=b"banana"))
        writer.write(b"GET 2")
        assert await reader.readexactly(5) == b"GET 2"


async def test_a_closed_link_refuses_and_an_open_one_takes_again() -> None:
    async with echo_behind_a_link() as made:
        made.close()

        async def refuses() -> bool:
            try:
                _, writer = await asyncio.open_connection(HOST, made.port)
            except ConnectionRefusedError:
                return True
            writer.transport.abort()
            return False

        await until(refuses, "nobody listens")
        await made.open()
        async with connected(made) as (reader, writer):
            writer.write(b"POST 1")
            assert await reader.readexactly(6) == b"POST 1"
