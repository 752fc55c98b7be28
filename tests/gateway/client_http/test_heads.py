"""What a request's head may be, and what follows when it is more or never ends."""

import asyncio

import pytest

from gateway.headers import MAX_HEAD_BYTES, MAX_HEADERS
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, DEADLINE_S, Served, checked_error, eventually, post, serving
from tests.gateway.scripted_rank import (
    EVENTS,
    NO_MORE,
    STREAM_HEAD,
    Exchange,
    chunk,
    scripted_rank,
    stalls_after_an_event,
)

PIECE = b"x" * 65_536
ENOUGH = 64
"""Pieces: 4 MiB, many times what may be kept."""


async def answer_while_sending(served: Served, beginning: bytes, piece: bytes) -> tuple[bytes, int]:
    """Send a beginning and then the same piece until the gateway answers; its answer, and how many pieces it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    answer = asyncio.get_running_loop().create_future()

    async def read() -> None:
        answer.set_result(await reader.readuntil(b"}}"))

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        writer.write(beginning)
        pieces = 0
        while not answer.done() and pieces < ENOUGH:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
            pieces += 1
    writer.close()
    return await answer, pieces


def status_and_body(answer: bytes) -> tuple[int, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), body


HEAD = f"POST {COMPLETIONS} HTTP/1.1\r\nHost: g\r\n".encode()
GET = b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n"
CHUNKED = HEAD + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        pytest.param(b"GET /", PIECE, id="a target"),
        pytest.param(HEAD, PIECE, id="the name of a header"),
        pytest.param(HEAD + b"X: ", PIECE, id="the value of a header"),
        pytest.param(HEAD, b"X: y\r\n" * 10_000, id="headers"),
        pytest.param(b"", b"\r\n" * 30_000, id="empty lines"),
        pytest.param(CHUNKED + b"1;", PIECE, id="a chunk's extension"),
        pytest.param(CHUNKED + b"1\r\n{\r\n0\r\nX: ", PIECE, id="a trailer"),
        pytest.param(CHUNKED + b"1\r\n{\r\n0\r\n", b"X: y\r\n" * 10_000, id="trailers"),
    ],
)
async def test_what_never_ends_is_refused_long_before_it_would(beginning: bytes, piece: bytes) -> None:
    async with serving(FakePools(pool := FakePool(NOWHERE))) as served:
        answer, pieces = await answer_while_sending(served, beginning, piece)
        status, body = status_and_body(answer)
        assert status == 431
        checked_error(431, body)
        assert pieces < ENOUGH
        await eventually(lambda: served.gateway.alive == 0)
    assert pool.asked == []


@pytest.mark.parametrize(
    "headers", [("X: " + "y" * MAX_HEAD_BYTES,), ("X: y",) * MAX_HEADERS, ("Authorization: " + "y" * 1_000_000,)]
)
async def test_a_whole_head_that_is_too_large_is_refused(headers: tuple[str, ...]) -> None:
    async with serving(FakePools(pool := FakePool(NOWHERE)), api_key=("sesame",)) as served:
        status, answered, body = await served.send(post(COMPLETIONS, b'{"prompt":"x"}', *headers))
    assert (status, answered["connection"]) == (431, "close")
    checked_error(431, body)
    assert pool.asked == []


async def test_a_large_head_within_the_limits_is_served() -> None:
    headers = [f"X-{number}: {'y' * 600}" for number in range(MAX_HEADERS - 3)]
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        status, _, _ = await served.send(post(COMPLETIONS, b'{"prompt":"x"}', *headers))
    assert status == 200
    assert rank.requests[0].header("x-0") == "y" * 600


async def test_requests_of_one_connection_are_counted_one_by_one() -> None:
    async with serving(FakePools()) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for _ in range(5):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: g\r\nX: " + b"y" * 40_000 + b"\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_a_trailer_is_no_header() -> None:
    body = b'e\r\n{"prompt":"x"}\r\n0\r\nX-Trailed: 1\r\nX-Request-Timeout-Ms: soon\r\n\r\n'
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        status, _, _ = await served.send(CHUNKED + body)
    assert status == 200
    assert rank.requests[0].header("x-trailed") is None


async def until_closed(served: Served, *parts: bytes) -> bytes:
    """Send parts, each after an answer to the one before; everything that comes until the gateway closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    answers = b""
    for part in parts[:-1]:
        writer.write(part)
        answers += await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
    writer.write(parts[-1])
    answers += await asyncio.wait_for(reader.read(), DEADLINE_S)
    writer.close()
    return answers


@pytest.mark.parametrize("first", [(), (GET,)])
async def test_a_head_that_does_not_come_in_time_is_a_408(
    first: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.client_http.protocol.HEAD_S", 0.05)
    async with serving(FakePools()) as served:
        answers = await until_closed(served, *first, b"GET /healthz HTTP/1.1\r\nHos")
    assert answers.count(b"HTTP/1.1 ") == len(first) + 1
    status, body = status_and_body(answers[answers.rindex(b"HTTP/1.1 ") :])
    assert status == 408
    checked_error(408, body)


@pytest.mark.parametrize(("first", "idle"), [((), b""), ((), b"\r\n"), ((GET,), b"\r\n")])
async def test_a_connection_on_which_no_request_begins_is_closed_without_a_word(
    first: tuple[bytes, ...], idle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.client_http.protocol.HEAD_S", 0.05)
    async with serving(FakePools()) as served:
        answers = await until_closed(served, *first, idle)
    assert answers.count(b"HTTP/1.1 ") == len(first)


async def test_a_running_answer_outlives_the_time_for_the_next_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.client_http.protocol.HEAD_S", 0.05)
    may_end = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]))
        await may_end.wait()
        await exchange.send(chunk(EVENTS[-1]), NO_MORE)

    async with scripted_rank(waits) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post(COMPLETIONS, b'{"prompt":"x","stream":true}') + b"GET /heal")
        await reader.readuntil(EVENTS[0] + b"\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(3), 0.2)
        may_end.set()
        await reader.readuntil(NO_MORE)
        writer.close()


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\r\n\r\n", b"GET /" + b"x" * 100_000])
async def test_no_error_is_written_into_a_running_answer(garbage: bytes) -> None:
    async with (
        scripted_rank(stalls_after_an_event) as rank,
        serving(FakePools(pool := FakePool(card(rank.url)))) as served,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post(COMPLETIONS, b'{"prompt":"x","stream":true}'))
        await reader.readuntil(EVENTS[0] + b"\r\n")
        writer.write(garbage)
        assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
        writer.close()
        await eventually(lambda: rank.open_connections == 0)
    assert pool.words()[-1] == "released"
