"""Offers to change the protocol, which `curl --http2`, Java's client and browsers make: they are not taken."""

import asyncio
import logging

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import CHAT, COMPLETIONS, DEADLINE_S, Served, checked_error, serving
from tests.gateway.scripted_rank import COMPLETION, scripted_rank

BODY = b'{"prompt":"x"}'
OFFERS = (
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: YWE=\r\nSec-WebSocket-Version: 13\r\n",
)
FRAMED = (
    (f"Content-Length: {len(BODY)}\r\n", BODY),
    (
        "Transfer-Encoding: chunked\r\n",
        b"3\r\n" + BODY[:3] + b"\r\nb\r\n" + BODY[3:] + b"\r\n0\r\nX-Trailed: 1\r\n\r\n",
    ),
)


def request(offer: str, framing: str) -> bytes:
    return f"POST {COMPLETIONS} HTTP/1.1\r\nHost: g\r\n{offer}Content-Type: application/json\r\n{framing}\r\n".encode()


async def answers(served: Served, *parts: bytes, count: int) -> None:
    """Send parts, one a packet, and read so many completions."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)
    for _ in range(count):
        answer = await asyncio.wait_for(reader.readuntil(COMPLETION), DEADLINE_S)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize(("framing", "framed"), FRAMED)
async def test_a_request_that_offers_an_upgrade_is_read_to_its_end(
    offer: str, framing: str, framed: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    head = request(offer, framing)
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        await answers(served, head + framed, count=1)
        await answers(served, head, framed, count=1)
        await answers(served, *(bytes([byte]) for byte in head + framed), count=1)
        await answers(served, 3 * (head + framed) + request("", framing) + framed, count=4)
    assert [one.body for one in rank.requests] == 7 * [BODY]
    assert all(one.header("upgrade") is one.header("x-trailed") is None for one in rank.requests)
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("offer", OFFERS)
async def test_a_request_without_a_body_that_offers_an_upgrade_is_answered_as_any_other(offer: str) -> None:
    get = f"GET /v1/models HTTP/1.1\r\nHost: g\r\n{offer}\r\n".encode()
    async with serving(FakePools()) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(3 * get)
        for _ in range(3):
            assert (await asyncio.wait_for(reader.readuntil(b"[]}"), DEADLINE_S)).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()


async def test_a_large_body_after_an_offer_is_whole() -> None:
    body = b'{"prompt":"' + b"x" * 1_000_000 + b'"}'
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        await answers(served, request(OFFERS[0], f"Content-Length: {len(body)}\r\n"), body, count=1)
    assert rank.requests[0].body == body


@pytest.mark.parametrize("encoding", ["chunked", "xchunked", "chunked, identity"])
async def test_what_is_no_body_after_an_offer_is_refused(encoding: str) -> None:
    async with serving(FakePools()) as served:
        status, headers, body = await served.send(request(OFFERS[0], f"Transfer-Encoding: {encoding}\r\n") + b"zz\r\n")
    assert (status, headers["connection"]) == (400, "close")
    checked_error(400, body)


async def test_the_limits_of_a_head_hold_with_an_offer_too() -> None:
    async with serving(FakePools()) as served:
        status, _, body = await served.send(request(OFFERS[0], "X: y\r\n" * 100))
    assert status == 431
    checked_error(431, body)


async def test_a_tunnel_is_not_opened() -> None:
    async with serving(FakePools()) as served:
        status, _, body = await served.send(f"CONNECT {CHAT} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
    assert status == 405
    checked_error(405, body)
