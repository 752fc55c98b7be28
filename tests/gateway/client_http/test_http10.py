"""Clients of HTTP/1.0, which know neither chunks nor connections that stay open."""

import asyncio

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, DEADLINE_S, Served, post, serving
from tests.gateway.scripted_rank import (
    COMPLETION,
    EVENTS,
    STREAM_HEAD,
    Exchange,
    chunk,
    completes,
    scripted_rank,
    streams,
)


async def until_closed(served: Served, body: bytes) -> tuple[bytes, bytes]:
    """The head and the body of the answer to a completions request of HTTP/1.0."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(post(COMPLETIONS, body).replace(b"HTTP/1.1", b"HTTP/1.0"))
    head, _, answer = (await asyncio.wait_for(reader.read(), DEADLINE_S)).partition(b"\r\n\r\n")
    writer.close()
    assert b"connection: close" in head
    assert b"transfer-encoding" not in head
    return head, answer


async def test_a_stream_ends_where_the_connection_does() -> None:
    async with scripted_rank(streams) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        head, answer = await until_closed(served, b'{"prompt":"x","stream":true}')
    assert b"content-length" not in head
    assert answer == b"".join(EVENTS)
    assert pool.words()[-1] == "released"


async def test_a_stream_that_breaks_off_ends_with_an_error_event() -> None:
    async def dies(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]))
        exchange.abort()

    async with scripted_rank(dies) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        _, answer = await until_closed(served, b'{"prompt":"x","stream":true}')
    assert answer.startswith(EVENTS[0] + b'data: {"error":')


@pytest.mark.parametrize("size", [0, 9_000_000])
async def test_an_answer_that_is_no_stream_is_whole(size: int) -> None:
    async def answers(exchange: Exchange) -> None:
        await (exchange.answer("200 OK", b"x" * size) if size else completes(exchange))

    async with scripted_rank(answers) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        _, answer = await until_closed(served, b'{"prompt":"x"}')
    assert answer == (b"x" * size or COMPLETION)


async def test_a_client_is_not_told_to_go_on() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        sent = post(COMPLETIONS, b'{"prompt":"x"}', "Expect: 100-continue")
        old, _, _ = await served.send(sent.replace(b"HTTP/1.1", b"HTTP/1.0"))
        new, _, _ = await served.send(sent)
    assert (old, new) == (200, 100)
