"""Many requests on one connection before the first is answered."""

import asyncio
import gc

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.client_http.waiting import MAX_QUEUED, MAX_UNREAD_BYTES
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, DEADLINE_S, eventually, post, serving
from tests.gateway.scripted_rank import COMPLETION, Exchange, completes, scripted_rank, stalls

pytestmark = pytest.mark.usefixtures("only_new_objects")

GET = b"GET /healthz HTTP/1.1\r\n\r\n"
FLOOD = 3000
LONG_BODY_BYTES = 4_000_000
A_FEW = 4
"""How many times as many requests may be held as may be queued: they are parsed by the piece."""


def requests_held() -> int:
    return sum(isinstance(one, RequestResponseCycle) for one in gc.get_objects())


def longest_body_held() -> int:
    return max((len(one.body) for one in gc.get_objects() if isinstance(one, RequestResponseCycle)), default=0)


async def test_of_a_flood_of_requests_few_are_held_and_all_are_answered_in_order() -> None:
    may_end = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await may_end.wait()
        await completes(exchange)

    held_before = requests_held()
    async with scripted_rank(waits) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=FLOOD * 1000)
        writer.write(post(COMPLETIONS, b'{"prompt":"x"}') + GET * FLOOD + post(COMPLETIONS, b'{"prompt":"y"}'))
        await eventually(lambda: len(rank.requests) == 1)
        assert requests_held() - held_before <= A_FEW * MAX_QUEUED
        may_end.set()
        async with asyncio.timeout(DEADLINE_S):
            assert (await reader.readuntil(COMPLETION)).count(b"HTTP/1.1 200 ") == 1
            assert (await reader.readuntil(COMPLETION)).count(b"HTTP/1.1 200 ") == FLOOD + 1
        assert requests_held() - held_before <= A_FEW * MAX_QUEUED
        writer.close()
    assert [request.body for request in rank.requests] == [b'{"prompt":"x"}', b'{"prompt":"y"}']


async def test_a_client_that_leaves_with_many_requests_unread_leaves_nothing() -> None:
    async with scripted_rank(stalls) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post(COMPLETIONS, b'{"prompt":"x"}') + GET * (MAX_UNREAD_BYTES // len(GET)))
        await eventually(lambda: len(rank.requests) == 1)
        writer.close()
        await eventually(lambda: rank.open_connections == served.gateway.alive == len(pool.live) == 0)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(GET, id="a request"),
        pytest.param(GET * (2 * MAX_QUEUED), id="many requests"),
        pytest.param(post(COMPLETIONS, b" " * (MAX_UNREAD_BYTES + 40_000)), id="a long body"),
    ],
)
async def test_a_client_that_sends_on_while_it_waits_and_leaves_leaves_nothing(second: bytes) -> None:
    async with scripted_rank(stalls) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post(COMPLETIONS, b'{"prompt":"x"}'))
        await eventually(lambda: len(rank.requests) == 1)
        writer.write(second)
        await writer.drain()
        await eventually(lambda: requests_held() > 1)
        writer.close()
        await eventually(lambda: rank.open_connections == served.gateway.alive == len(pool.live) == 0)


async def test_a_body_whose_turn_has_not_come_is_not_read_on_for_ever() -> None:
    async with scripted_rank(stalls) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post(COMPLETIONS, b'{"prompt":"x"}'))
        await eventually(lambda: len(rank.requests) == 1)
        writer.write(post(COMPLETIONS, b" " * LONG_BODY_BYTES))
        await eventually(lambda: longest_body_held() > MAX_UNREAD_BYTES)
        for _ in range(20):
            await asyncio.sleep(0)
            assert longest_body_held() < LONG_BODY_BYTES // 4
        writer.transport.abort()


@pytest.mark.parametrize("framing", ["Content-Length: 14\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\ne\r\n"])
async def test_bodies_between_requests_are_told_from_them(framing: str) -> None:
    end = b"\r\n0\r\n\r\n" if "chunked" in framing else b""
    head = f"POST {COMPLETIONS} HTTP/1.1\r\nContent-Type: application/json\r\n{framing}".encode()
    one = head + b'{"prompt":"x"}' + end
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write((one + GET) * (2 * MAX_QUEUED))
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(2 * MAX_QUEUED):
                assert (await reader.readuntil(COMPLETION)).endswith(COMPLETION)
        writer.close()
    assert {request.body for request in rank.requests} == {b'{"prompt":"x"}'}
