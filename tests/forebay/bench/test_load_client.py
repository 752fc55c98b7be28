"""The load client against servers that do not answer as they should: it counts that, and never hangs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from forebay.bench.jobs import Job, Outcome
from forebay.bench.load_client import Load
from tests.polling import until

OK_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


@asynccontextmanager
async def server(answer: bytes, *, close: bool) -> AsyncIterator[str]:
    open_connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.add(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if not close:
            await reader.read()
        writer.close()
        await writer.wait_closed()
        open_connections.remove(writer)

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with running:
        yield f"127.0.0.1:{running.sockets[0].getsockname()[1]}"
    await until(lambda: not open_connections, "the server has closed all connections")


async def outcome(address: str, **changes: object) -> Outcome:
    job = {"connections": 1, "requests": 1, "tokens": 1, "body_bytes": 100, "streamed": True, "deadline_s": 5.0}
    load = Load(Job(addresses=(address,), **(job | changes)))  # type: ignore[arg-type]
    return await load.run()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(OK_HEAD + b"content-length: 9\r\n\r\ndata: x\n\n", "0 chunks of 1", id="too-few-chunks"),
        pytest.param(
            OK_HEAD + b"content-length: 52\r\n\r\ndata: t=%019d.%019d;\n\n\n\n" % (1, 2), "no [DONE]", id="no-done"
        ),
        pytest.param(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "status 503", id="status"),
        pytest.param(OK_HEAD + b"content-length: 99\r\n\r\ndata", "connection lost", id="cut"),
    ],
)
async def test_an_answer_that_is_not_as_asked_is_an_error_of_its_kind(answer: bytes, error: str) -> None:
    async with server(answer, close=True) as address:
        found = await outcome(address)
    assert found.errors == {error: 1}
    assert found.answers == 0


async def test_silence_ends_with_the_deadline() -> None:
    async with server(b"", close=False) as address:
        found = await outcome(address, deadline_s=0.05)
    assert found.errors == {"not over after 0.05 s": 1}


async def test_a_port_that_nobody_listens_on_is_an_error() -> None:
    async with server(b"", close=True) as address:
        pass
    (error,) = (await outcome(address)).errors
    assert error.startswith("no connection")


async def test_a_connection_that_cannot_be_used_again_ends_the_job() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 42\r\nconnection: close\r\n\r\nt=%019d.%019d;" % (1, 2)
    async with server(answer, close=True) as address:
        found = await outcome(address, requests=3, streamed=False)
    assert found.answers == 1
    assert found.errors == {"connection closed after an answer": 1}


async def test_streams_to_be_held_that_fail_are_not_waited_for() -> None:
    async with server(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", close=True) as address:
        found = await outcome(address, connections=3, requests=3, hold=True)
    assert found.errors == {"status 503": 3}
