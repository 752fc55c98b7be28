"""How much of a decode rank's stream is held back, and when one that is left open ends."""

import asyncio

import pytest

from gateway.dialects.apis import CHOICES
from gateway.dialects.dialect import Dialect, Opening
from gateway.opening import opening_of
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import eventually, serving
from tests.gateway.scripted_pair import scripted_pair
from tests.gateway.scripted_rank import EVENTS, NO_MORE, STREAM_HEAD, Exchange, Script, chunk, scripted_rank

COMMENT = b": keep-alive\n\n"


async def test_each_part_of_a_beginning_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[bytes] = []

    def noted(part: bytes, dialect: Dialect) -> Opening:
        looked_at.append(part)
        return opening_of(part, dialect)

    monkeypatch.setattr("gateway.event_stream.opening_of", noted)

    async def comments(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, *[chunk(COMMENT)] * 1_000, chunk(EVENTS[0]), chunk(EVENTS[-1]), NO_MORE)

    async with scripted_pair(decode=comments) as pair:
        response = await pair.served.complete(stream=True)
    assert response.content == COMMENT * 1_000 + EVENTS[0] + EVENTS[-1]
    assert sum(map(len, looked_at)) <= len(response.content)


async def test_no_more_than_a_bound_is_held_back() -> None:
    seen = asyncio.Event()

    async def comments(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(COMMENT * (CHOICES.opening_bytes // len(COMMENT) + 1)))
        await seen.wait()
        await exchange.send(chunk(EVENTS[0]), chunk(EVENTS[-1]), NO_MORE)

    async with scripted_pair(decode=comments) as pair:
        body = {"model": "sim", "prompt": "x", "stream": True}
        async with pair.served.client.stream("POST", "/v1/completions", json=body) as response:
            parts = response.aiter_bytes()
            assert (await anext(parts)).startswith(COMMENT)
            seen.set()
            rest = b"".join([part async for part in parts])
    assert rest.endswith(EVENTS[0] + EVENTS[-1])


async def stays_open(exchange: Exchange) -> None:
    await exchange.send(STREAM_HEAD, *map(chunk, EVENTS))
    await exchange.until_closed()


async def chatters_on(exchange: Exchange) -> None:
    await exchange.send(STREAM_HEAD, *map(chunk, EVENTS))
    while True:
        await exchange.send(chunk(COMMENT))
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("script", [stays_open, chatters_on])
async def test_a_stream_that_a_decode_rank_leaves_open_ends_for_its_client(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.relay.AFTER_DONE_S", 0.2)
    async with scripted_pair(decode=script, idle_ms=3_600_000) as pair:
        response = await pair.served.complete(stream=True)
        await eventually(lambda: not pair.pool.live and not pair.served.gateway.upstream.open_requests)
    assert response.content.startswith(b"".join(EVENTS))
    assert pair.names() == ["P", "D"]


async def test_a_stream_that_a_mixed_rank_leaves_open_ends_for_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.relay.AFTER_DONE_S", 0.2)
    async with (
        scripted_rank(stays_open) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), idle_ms=3_600_000) as served,
    ):
        response = await served.complete(stream=True)
        await eventually(lambda: not pool.live)
    assert response.content == b"".join(EVENTS)
