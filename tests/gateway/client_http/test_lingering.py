"""Answers that come before the request is all there: the client gets them, and knows what becomes of its connection."""

import asyncio
import urllib.error
import urllib.request

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card, pools_of_nobody
from tests.gateway.running import CHAT, COMPLETIONS, DEADLINE_S, Served, checked_error, post, serving
from tests.gateway.scripted_rank import COMPLETION, scripted_rank

BODY = b'{"prompt":"x"}'
LONG = b" " * 5_000_000
GET = b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n"
EXPECTING = post(COMPLETIONS, BODY, "Expect: 100-continue", "Authorization: Bearer wrong").removesuffix(BODY)


async def until_closed(served: Served, sent: bytes) -> bytes:
    """Everything that comes until the gateway closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(), DEADLINE_S)
    finally:
        writer.close()


def checked_only_answer(answers: bytes, status: int) -> None:
    head, _, body = answers.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert head.count(b"connection: close") == 1
    checked_error(status, body)


@pytest.mark.parametrize(("path", "status"), [(COMPLETIONS, 413), (CHAT, 413), ("/nowhere", 404), ("/admin/x", 404)])
async def test_a_client_that_is_still_sending_gets_its_answer(path: str, status: int) -> None:
    def answered(url: str) -> int:
        request = urllib.request.Request(url, data=LONG, headers={"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=DEADLINE_S)
        raised.value.close()
        return raised.value.code

    async with serving(pools_of_nobody(), max_body_bytes=1000) as served:
        for _ in range(3):
            assert await asyncio.to_thread(answered, served.url + path) == status


async def test_a_body_that_stops_coming_closes_its_connection() -> None:
    async with serving(pools_of_nobody(), client_idle_ms=50) as served:
        checked_only_answer(await until_closed(served, post(COMPLETIONS, BODY)[:-3]), 408)


async def test_after_a_body_that_was_not_asked_for_no_request_is_read() -> None:
    async with serving(pools_of_nobody(), api_key=("sesame",)) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(EXPECTING)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        writer.write(GET)
        body = await asyncio.wait_for(reader.read(), DEADLINE_S)
        writer.close()
    checked_only_answer(head + body, 401)


async def test_after_a_body_that_was_asked_for_the_connection_stays_open() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(2):
                writer.write(EXPECTING)
                assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                writer.write(BODY)
                assert b"connection: close" not in await reader.readuntil(COMPLETION)
        writer.close()
