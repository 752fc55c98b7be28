"""What passes between client and rank, byte for byte, and what the ledger is told meanwhile."""

import asyncio
import json

import anyio
import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, eventually, post, serving
from tests.gateway.scripted_rank import (
    COMPLETION,
    EVENTS,
    NO_MORE,
    STREAM_HEAD,
    Exchange,
    chunk,
    completes,
    scripted_rank,
    streams,
)


async def test_an_answer_reaches_the_client_as_the_rank_sent_it() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete()
    assert response.status_code == 200
    assert response.content == COMPLETION
    assert response.headers["content-type"] == "application/json"


async def test_a_stream_reaches_the_client_as_the_rank_sent_it() -> None:
    async with scripted_rank(streams) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=True)
    assert response.status_code == 200
    assert response.content == b"".join(EVENTS)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_a_body_with_nothing_to_strip_reaches_the_rank_byte_for_byte() -> None:
    body = b' {"prompt" : "a\\u00e9\xc3\xa9",\t"max_tokens":1.0, "extra":{"n":1e2,"n":2},"model":"sim" } \n'
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        await served.send(post(COMPLETIONS, body))
    assert [request.body for request in rank.requests] == [body]
    assert rank.requests[0].line == f"POST {COMPLETIONS} HTTP/1.1"


@pytest.mark.parametrize(
    "smuggled",
    [
        pytest.param(b'"kv_transfer_params":{"do_remote_prefill":true}', id="plain"),
        pytest.param(b'"ec_transfer_params":{"a":1}', id="encoder"),
        pytest.param(b'"kv\\u005ftransfer_params":{"do_remote_prefill":true}', id="escaped"),
        pytest.param(b'"kv_transfer_params":null,"kv_transfer_params":{"a":1}', id="twice, the last one set"),
        pytest.param(b'"kv_transfer_params":{"a":1},"kv_transfer_params":null', id="twice, the first one set"),
        pytest.param(b'"vllm_xargs":{"kv_transfer_params":"x"}', id="as an extra argument"),
        pytest.param(b'"vllm_xargs":{"kv_transfer_param\\u0073":"x"}', id="as an extra argument, escaped"),
        pytest.param(b'"vllm_xargs":{},"vllm_xargs":{"ec_transfer_params":"x"}', id="in the second extra arguments"),
    ],
)
async def test_a_client_cannot_steer_the_transfer_of_kv(smuggled: bytes) -> None:
    body = b'{"model":"sim","prompt":"x","keep":{"a": 1.50},' + smuggled + b"}"
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        await served.send(post(COMPLETIONS, body))
    (request,) = rank.requests
    assert b"transfer_param" not in request.body
    sent = json.loads(request.body)
    sent.pop("vllm_xargs", None)
    assert sent == {"model": "sim", "prompt": "x", "keep": {"a": 1.5}}
    assert b'{"a": 1.50}' in request.body


async def test_extra_arguments_of_other_names_pass() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        await served.complete(vllm_xargs={"kv_transfer_params": "x", "other": 3})
    assert json.loads(rank.requests[0].body)["vllm_xargs"] == {"other": 3}


async def test_no_status_is_sent_before_the_rank_has_answered() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        arrived, may_answer = asyncio.Event(), asyncio.Event()

        async def refuses_late(exchange: Exchange) -> None:
            arrived.set()
            await may_answer.wait()
            await exchange.answer("503 Service Unavailable", b"busy")

        rank.script = refuses_late
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post(COMPLETIONS, b'{"prompt":"x","stream":true}'))
        await arrived.wait()
        with anyio.move_on_after(0.1):
            pytest.fail(f"too early: {await reader.read(1)!r}")
        may_answer.set()
        assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 503 Service Unavailable\r\n"
        writer.close()


async def test_a_large_answer_that_is_no_stream_passes_in_parts() -> None:
    size = 9_000_000

    async def answers(exchange: Exchange) -> None:
        await exchange.answer("200 OK", b"x" * size, "content-type: application/json")

    async with scripted_rank(answers) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete()
    assert response.content == b"x" * size


async def test_phases_follow_the_request_and_a_comment_is_no_token() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        end = asyncio.Event()

        async def goes_slowly(exchange: Exchange) -> None:
            await exchange.send(STREAM_HEAD, chunk(b": keep-alive\n\n"))
            await eventually(lambda: pool.words() == ["dispatched"])
            await exchange.send(chunk(EVENTS[0]))
            await end.wait()
            await exchange.send(chunk(EVENTS[-1]), NO_MORE)

        rank.script = goes_slowly
        async with served.client.stream("POST", COMPLETIONS, json={"prompt": "x", "stream": True}) as response:
            parts = response.aiter_bytes()
            assert await anext(parts) == b": keep-alive\n\n" + EVENTS[0]
            assert pool.words() == ["dispatched", "first_token"]
            assert pool.live == {1}
            end.set()
            assert [part async for part in parts] == [EVENTS[-1]]
        await eventually(lambda: pool.words() == ["dispatched", "first_token", "released"])


async def test_what_an_engine_counted_teaches_the_estimate() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        for _ in range(200):
            await served.complete(prompt="x" * 120)
        rank.script = streams
        response = await served.complete(prompt="x" * 120, stream=True, stream_options={"include_usage": True})
        metrics = (await served.client.get("/metrics")).text
    assert response.status_code == 200
    assert pool.asked[0].prompt_tokens == 30
    assert 12 <= pool.asked[-1].prompt_tokens <= 13
    assert 'forebay_gateway_prompt_estimate_ratio_count{pool="sim"} 201.0' in metrics


async def test_an_answer_without_a_stream_leaves_its_prefill_phase_when_the_first_token_is_expected() -> None:
    release = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await release.wait()
        await completes(exchange)

    async with scripted_rank(waits) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        pool.first_token_s = 0.01
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(served.complete(), name="request")
            await eventually(lambda: pool.words() == ["dispatched", "first_token"])
            release.set()
    assert pool.words() == ["dispatched", "first_token", "released"]


async def test_an_answer_that_ends_sooner_than_expected_had_its_prefill_done() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        await served.complete()
    assert pool.words() == ["dispatched", "first_token", "released"]


async def test_while_a_rank_sends_its_answer_in_crumbs_others_have_their_turns() -> None:
    crumbs = 400_000  # with their framing nine times what is read at once
    turns = 0

    async def sends_crumbs(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]), chunk(b":") * crumbs + NO_MORE)

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += pool.words()[-1:] == ["first_token"]

    async with (
        scripted_rank(sends_crumbs) as rank,
        serving(FakePools(pool := FakePool(card(rank.url)))) as served,
        anyio.create_task_group() as others,
    ):
        others.start_soon(take_turns)
        response = await served.complete(stream=True)
        others.cancel_scope.cancel()
    assert response.content == EVENTS[0] + b":" * crumbs
    assert turns > 5
