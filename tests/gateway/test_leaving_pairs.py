"""A client that leaves, or a deadline that passes, at any point of both legs: nothing stays behind at any rank."""

import asyncio
import json
from collections.abc import Callable

import pytest

from scheduler.messages import RankState, Role
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, eventually, post, serving
from tests.gateway.scripted_pair import PARAMS, Pair, answers, prefills, scripted_pair, sent
from tests.gateway.scripted_rank import (
    COMPLETION,
    EVENTS,
    STREAM_HEAD,
    Exchange,
    Script,
    chunk,
    scripted_rank,
    stalls,
    stalls_after_an_event,
)

REFUSAL = b'{"error":{"message":"The model does not exist.","type":"NotFoundError","param":"model","code":404}}'
ASK = b'{"model":"sim","prompt":"Once","stream":true}'


async def refuses_what_frees(exchange: Exchange) -> None:
    if b"forebay-frees" in exchange.request.body:
        await exchange.answer("404 Not Found", REFUSAL, "content-type: application/json")
    else:
        await exchange.answer("200 OK", COMPLETION, "content-type: application/json")


def freed(pair: Pair, count: int) -> bool:
    freeings = [b"forebay-frees" in request.body for request in [*pair.decode.requests, *pair.decode2.requests]]
    return sum(freeings) == count and not pair.served.gateway.upstream.open_requests


async def leaves_when(pair: Pair, holds: Callable[[], object]) -> None:
    """Ask, and hang up once something holds."""
    _, writer = await asyncio.open_connection("127.0.0.1", pair.served.port)
    writer.write(post(COMPLETIONS, ASK))
    await eventually(lambda: bool(holds()))
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_leaves_during_the_prefill_ends_it_and_nothing_is_to_be_freed() -> None:
    async with scripted_pair(stalls, refuses_what_frees) as pair:
        await leaves_when(pair, lambda: pair.prefill.requests)
        await eventually(lambda: pair.nothing_is_held() and pair.prefill.open_connections == 0)
        page = (await pair.served.client.get("/metrics")).text
    assert pair.names() == ["P"]
    assert pair.pool.words() == ["dispatched", "released"]
    assert "forebay_gateway_freed_prefills_total{" not in page


async def test_a_prefill_that_ends_just_after_its_client_has_left_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.prefill_leg.LAST_LOOK_S", 30.0)
    left = asyncio.Event()

    async def answers_late(exchange: Exchange) -> None:
        await left.wait()
        await prefills(exchange)

    async with scripted_pair(answers_late, refuses_what_frees) as pair:
        await leaves_when(pair, lambda: pair.prefill.requests)
        left.set()
        await eventually(lambda: freed(pair, 1) and pair.nothing_is_held())
    assert pair.pool.words() == ["dispatched", "released"]


async def test_a_client_that_leaves_before_the_prefill_rank_has_its_request_waits_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.prefill_leg.LAST_LOOK_S", 3600.0)
    async with scripted_rank(stalls) as busy:
        pool = FakePool(card(busy.url, rank="P", role=Role.PREFILL), card(busy.url, rank="D", role=Role.DECODE))
        async with serving(FakePools(pool), rank_connections=1, connect_ms=3_600_000) as served:
            _, other = await asyncio.open_connection("127.0.0.1", served.port)
            other.write(post(COMPLETIONS, b'{"prompt":"x","n":2}'))
            await eventually(lambda: len(busy.requests) == 1)
            response = await served.complete(headers={"x-request-timeout-ms": "100"})
            assert response.status_code == 504
            other.close()
            await eventually(lambda: not (pool.live or served.gateway.upstream.open_requests))
    assert len(busy.requests) == 1


async def test_a_client_that_leaves_between_the_legs_has_the_prefill_freed_by_the_decode_rank() -> None:
    async with scripted_pair(decode=refuses_what_frees) as pair:
        pair.pool.rebind_s = 1000.0
        await leaves_when(pair, lambda: "prefill_done" in pair.pool.words())
        await eventually(lambda: freed(pair, 1) and pair.nothing_is_held())
        page = (await pair.served.client.get("/metrics")).text
    asked = sent(pair.decode)
    assert asked["kv_transfer_params"] == PARAMS
    assert asked["model"] != "sim"
    assert asked["prompt"]
    assert pair.names() == ["P", "D"]
    assert pair.pool.words() == ["dispatched", "prefill_done", "released"]
    assert 'forebay_gateway_freed_prefills_total{freed="true",pool="sim"} 1.0' in page


async def test_a_deadline_that_passes_between_the_legs_has_the_prefill_freed() -> None:
    async with scripted_pair(decode=refuses_what_frees) as pair:
        pair.pool.rebind_s = 1000.0
        response = await pair.served.complete(headers={"x-request-timeout-ms": "300"})
        await eventually(lambda: freed(pair, 1) and pair.nothing_is_held())
    assert response.status_code == 504


async def test_what_is_to_be_freed_is_freed_by_a_completion_whatever_its_api() -> None:
    async with scripted_pair(decode=refuses_what_frees) as pair:
        pair.pool.rebind_s = 1000.0
        body = {"model": "sim", "messages": [{"role": "user", "content": "Hello"}]}
        await pair.served.client.post("/v1/chat/completions", json=body, headers={"x-request-timeout-ms": "300"})
        await eventually(lambda: freed(pair, 1))
    assert sent(pair.decode)["prompt"]
    assert pair.decode.requests[0].line == "POST /v1/completions HTTP/1.1"


@pytest.mark.parametrize("script", [stalls, stalls_after_an_event])
async def test_a_decode_rank_that_has_the_request_frees_the_prefill_itself(script: Script) -> None:
    async with scripted_pair(decode=script) as pair:
        await leaves_when(pair, lambda: pair.decode.requests)
        await eventually(lambda: pair.nothing_is_held() and pair.decode.open_connections == 0)
    assert pair.names() == ["P", "D"]
    assert pair.pool.words()[-1] == "released"
    assert pair.pool.releases() == {1: 1}


async def test_a_prefill_whose_decode_rank_cannot_be_reached_is_freed_by_another() -> None:
    async with scripted_rank(prefills) as prefill, scripted_rank(refuses_what_frees) as decode:
        pool = FakePool(
            card(prefill.url, rank="P", role=Role.PREFILL),
            card("http://127.0.0.1:9", rank="D", role=Role.DECODE),
            card(decode.url, rank="D2", role=Role.DECODE),
            takes_turns=False,
        )
        async with serving(FakePools(pool)) as served:
            response = await served.complete()
            await eventually(lambda: len(decode.requests) == 2)
            assert response.content == COMPLETION
            assert pool.shunned == ["D"]
            await eventually(lambda: not served.gateway.upstream.open_requests)
    assert sum(b"forebay-frees" in request.body for request in decode.requests) == 1


async def test_where_nobody_can_free_a_prefill_its_lease_ends() -> None:
    async with scripted_pair(decode=refuses_what_frees) as pair:
        ranks = pair.pool.view.ranks
        for name in ("D", "D2"):
            ranks[name] = ranks[name]._replace(state=RankState.DOWN)  # type: ignore[index]
        pair.pool.rebind_s = 1000.0
        await pair.served.complete(headers={"x-request-timeout-ms": "300"})
        await eventually(pair.nothing_is_held)
        page = (await pair.served.client.get("/metrics")).text
    assert pair.names() == ["P"]
    assert 'forebay_gateway_freed_prefills_total{freed="false",pool="sim"} 1.0' in page


async def test_a_decode_rank_that_is_silent_holds_up_no_freeing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.freeing.FREE_WITHIN_S", 0.2)
    async with scripted_pair(decode=stalls) as pair:
        pair.pool.rebind_s = 1000.0
        await pair.served.complete(headers={"x-request-timeout-ms": "300"})
        await eventually(lambda: pair.decode.open_connections == 1)
        await eventually(lambda: pair.decode.open_connections == 0 and pair.nothing_is_held())


async def test_a_gateway_that_stops_frees_what_it_cuts_between_the_legs() -> None:
    async with scripted_rank(prefills) as prefill, scripted_rank(refuses_what_frees) as decode:
        pool = FakePool(card(prefill.url, rank="P", role=Role.PREFILL), card(decode.url, rank="D", role=Role.DECODE))
        pool.rebind_s = 1000.0
        async with serving(FakePools(pool)) as served:
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(post(COMPLETIONS, ASK))
            await eventually(lambda: "prefill_done" in pool.words())
        writer.close()
    assert [b"forebay-frees" in request.body for request in decode.requests] == [True]
    assert not pool.live


async def test_a_prefill_that_was_given_back_with_an_error_is_not_freed() -> None:
    async with scripted_pair(answers(b"{}", "500 Internal Server Error"), refuses_what_frees) as pair:
        await pair.served.complete()
        await eventually(pair.nothing_is_held)
    assert not any(b"forebay-frees" in request.body for request in pair.decode.requests)


async def test_a_stream_that_a_client_leaves_closes_its_decode_rank() -> None:
    async def streams_on(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD)
        while True:
            await exchange.send(chunk(EVENTS[0]))
            await asyncio.sleep(0.01)

    async with scripted_pair(decode=streams_on) as pair:
        reader, writer = await asyncio.open_connection("127.0.0.1", pair.served.port)
        writer.write(post(COMPLETIONS, ASK))
        await reader.readuntil(b"data: ")
        writer.close()
        await eventually(lambda: pair.nothing_is_held() and pair.decode.open_connections == 0)
    assert json.loads(pair.decode.requests[0].body)["kv_transfer_params"] == PARAMS
