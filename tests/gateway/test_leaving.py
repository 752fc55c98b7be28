"""A client that leaves, a deadline, a silent rank: whatever ends a request, all it held is given back, once."""

import asyncio
import json
from collections.abc import Iterator
from random import Random

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.hanging_up import after_an_event, at_once, send_and_hang_up
from tests.gateway.running import CHAT, COMPLETIONS, Served, error_of, eventually, nothing_is_held, post, serving
from tests.gateway.scripted_rank import (
    EVENTS,
    STREAM_HEAD,
    Exchange,
    ScriptedRank,
    completes,
    scripted_rank,
    stalls,
    stalls_after_an_event,
)
from tests.simulator.rank_process import RankProcess, running_rank
from tests.sse import event_of

CLIENTS = 200
LONG_BYTES = 20_000


async def hang_up(served: Served, pool: FakePool, random: Random) -> None:
    """Close a connection at a random moment, with FIN or RST: inside the request, in `place`, ..."""
    end = random.choice(["inside the request", "in place", "after an event", "later", "later"])
    content = "x" * (LONG_BYTES if end == "in place" else random.randrange(1, 4000))
    stream = end == "after an event" or random.random() < 0.6
    fields = {"messages": [{"role": "user", "content": content}], "max_tokens": 2000, "stream": stream}
    raw = post(CHAT, json.dumps(fields).encode())
    await asyncio.sleep(random.uniform(0, 1))
    if end == "inside the request":
        raw = raw[: random.randrange(len(raw))]

    async def in_place(_: asyncio.StreamReader) -> None:
        await eventually(lambda: pool.stalled > 0)

    earliest = {"in place": in_place, "after an event": after_an_event}.get(end, at_once)
    await send_and_hang_up(served.port, raw, random, within_s=0.5, earliest=earliest)


@pytest.fixture(scope="module")
def simulated() -> Iterator[RankProcess]:
    with running_rank("--speed", "4") as rank:
        yield rank


@pytest.mark.parametrize("seed", [1, 2])
async def test_of_200_clients_that_hang_up_at_random_moments_nothing_remains(simulated: RankProcess, seed: int) -> None:
    pool = FakePool(card(simulated.url), place_s=0.2)
    pool.stalls_above_tokens = LONG_BYTES // 8
    async with serving(FakePools(pool)) as served:
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(hang_up(served, pool, Random(seed * 1000 + number)))
        await eventually(lambda: nothing_is_held(served, pool))
        await eventually(lambda: simulated.state()["in_flight"] == simulated.state()["in_engine"] == 0)
        assert len(pool.releases()) + pool.given_back == len(pool.asked) > CLIENTS // 2
        assert set(pool.releases().values()) == {1}
        # Each end was met: inside place, and after it.
        assert pool.given_back > 0
        assert any(word == "first_token" for _, word in pool.history)
        assert (await served.complete()).status_code == 200
    await eventually(lambda: simulated.state()["open_connections"] == 0)


@pytest.mark.parametrize("script", [stalls, stalls_after_an_event])
async def test_when_a_client_closes_its_connection_to_the_rank_closes(script: object) -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        rank.script = script  # type: ignore[assignment]
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post(COMPLETIONS, b'{"prompt":"x","stream":true}'))
        await eventually(lambda: len(rank.requests) == 1)
        writer.close()
        await eventually(lambda: rank.open_connections == 0)
        await eventually(lambda: nothing_is_held(served, pool))
        assert pool.words()[-1] == "released"
        assert pool.releases() == {1: 1}


async def test_a_client_that_closes_with_several_requests_on_its_connection_leaves_nothing() -> None:
    async with scripted_rank(stalls) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(3 * post(COMPLETIONS, b'{"prompt":"x","stream":true}'))
        await eventually(lambda: len(rank.requests) == 1)
        writer.close()
        await eventually(lambda: nothing_is_held(served, pool))
    assert len(pool.asked) == 1


async def test_requests_on_one_connection_are_answered_in_turn() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(3 * post(COMPLETIONS, b'{"prompt":"x"}'))
        for _ in range(3):
            assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
            await reader.readuntil(b'"completion_tokens":1}}')
        writer.close()


async def test_a_client_that_closes_during_place_leaves_nothing() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url), place_s=1000.0))) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post(COMPLETIONS, b'{"prompt":"x"}'))
        await eventually(lambda: len(pool.asked) == 1)
        writer.close()
        await eventually(lambda: nothing_is_held(served, pool))
    assert (pool.given_back, pool.history, rank.requests) == (1, [], [])


async def deadline_passes(served: Served, **fields: object) -> None:
    response = await served.complete(headers={"x-request-timeout-ms": "100"}, **fields)
    assert response.status_code == 504
    assert "0.1 s" in error_of(response)["message"]


async def test_a_request_that_outlives_its_deadline_is_a_504() -> None:
    async with scripted_rank(stalls) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        await deadline_passes(served)
        await eventually(lambda: rank.open_connections == 0)
        assert pool.words() == ["dispatched", "released"]


async def test_a_deadline_that_passes_during_place_is_a_504() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url), place_s=1000.0))) as served:
        await deadline_passes(served)
        assert nothing_is_held(served, pool)
    assert rank.requests == []


async def test_a_stream_that_outlives_its_deadline_ends_with_an_error_event() -> None:
    async with (
        scripted_rank(stalls_after_an_event) as rank,
        serving(FakePools(pool := FakePool(card(rank.url)))) as served,
    ):
        response = await served.complete(stream=True, headers={"x-request-timeout-ms": "200"})
        await eventually(lambda: rank.open_connections == 0)
    assert response.status_code == 200
    assert response.content.startswith(EVENTS[0])
    error = event_of(response.text.removeprefix(EVENTS[0].decode()))["error"]
    assert (error["code"], error["type"]) == (504, "Gateway Timeout")
    assert pool.releases() == {1: 1}


async def test_a_request_within_its_deadline_is_served() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete(headers={"x-request-timeout-ms": "60000"})
    assert response.status_code == 200


async def test_a_rank_that_never_answers_is_a_504() -> None:
    async with (
        scripted_rank(stalls) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), first_byte_ms=100) as served,
    ):
        response = await served.complete(stream=True)
        await eventually(lambda: rank.open_connections == 0)
    assert error_of(response)["code"] == 504
    assert pool.words() == ["dispatched", "released"]


async def test_a_stream_whose_first_event_never_comes_is_cut() -> None:
    async def sends_a_head(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD)
        await exchange.until_closed()

    async with (
        scripted_rank(sends_a_head) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), first_byte_ms=100) as served,
    ):
        response = await served.complete(stream=True)
    assert event_of(response.text)["error"]["code"] == 504
    assert pool.words() == ["dispatched", "released"]


async def test_a_rank_that_falls_silent_inside_a_stream_is_cut() -> None:
    async with (
        scripted_rank(stalls_after_an_event) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), idle_ms=100) as served,
    ):
        response = await served.complete(stream=True)
        await eventually(lambda: rank.open_connections == 0)
    assert '"code":504' in response.text
    assert pool.words() == ["dispatched", "first_token", "released"]


async def test_a_request_beyond_the_connections_to_ranks_is_a_503() -> None:
    async with (
        scripted_rank(stalls) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), rank_connections=1, connect_ms=300) as served,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post(COMPLETIONS, b'{"prompt":"x"}'))
        await eventually(lambda: len(rank.requests) == 1)
        response = await served.complete()
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        writer.close()
        await eventually(lambda: nothing_is_held(served, pool))
        rank.script = completes
        assert (await served.complete()).status_code == 200


async def test_a_connection_the_rank_closed_meanwhile_is_not_used_again() -> None:
    async def completes_and_closes(exchange: Exchange) -> None:
        await completes(exchange)
        exchange.abort()

    async with scripted_rank(completes_and_closes) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        for _ in range(5):
            assert (await served.complete()).status_code == 200
            await eventually(lambda: _closed(rank))
        assert len(rank.requests) == 5


def _closed(rank: ScriptedRank) -> bool:
    return rank.open_connections == 0
