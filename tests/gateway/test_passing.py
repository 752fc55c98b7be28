"""What is passed to one rank as it is: bodies, streams, large answers, and what no client may send."""

import asyncio
import json

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card, pools_of_nobody
from tests.gateway.running import error_of, eventually, nothing_is_held, post, serving
from tests.gateway.scripted_rank import (
    EVENTS,
    STREAM_HEAD,
    Exchange,
    chunk,
    completes,
    scripted_rank,
    stalls,
    stalls_after_an_event,
    streams,
)

EMBEDDINGS = "/v1/embeddings"
PARAMS = {"kv_transfer_params": {"do_remote_prefill": True}}
JSON_TYPE = "content-type: application/json"


async def sent_on(path: str, **body: object) -> dict[str, object]:
    """What the rank gets of a body."""
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.client.post(path, json=body)
    assert response.status_code == 200
    found: dict[str, object] = json.loads(rank.requests[0].body)
    return found


@pytest.mark.parametrize("path", ["/v1/chat/completions/batch", "/invocations", "/cohere/v2/chat", EMBEDDINGS])
async def test_transfer_params_of_a_client_reach_no_rank_at_any_depth(path: str) -> None:
    body = {"messages": [[{"role": "user", "content": "x"} | PARAMS]], "a": {"b": [{"ec_transfer_params": {"c": 1}}]}}
    found = await sent_on(path, **body, **PARAMS, vllm_xargs=PARAMS | {"d": 1})
    assert found == {
        "messages": [[{"role": "user", "content": "x", "kv_transfer_params": None}]],
        "a": {"b": [{"ec_transfer_params": None}]},
        "vllm_xargs": {"d": 1},
    }


async def test_a_text_that_speaks_of_transfer_params_is_left_alone() -> None:
    raw = json.dumps({"input": json.dumps(PARAMS),  "model": "sim"}).encode()  # fmt: skip
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        await served.client.post(EMBEDDINGS, content=raw, headers={"content-type": "application/json"})
    assert rank.requests[0].body == raw


@pytest.mark.parametrize("path", ["/v1/chat/completions/batch", "/invocations"])
async def test_a_stream_is_relayed_as_one(path: str) -> None:
    async with scripted_rank(streams) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.client.post(path, json={"prompt": "x", "stream": True})
        page = (await served.client.get("/metrics")).text
    assert response.content == b"".join(EVENTS)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert pool.words() == ["dispatched", "first_token", "released"]
    assert f'forebay_gateway_requests_total{{pool="sim",route="{path}",status="200"}} 1.0' in page
    assert 'forebay_gateway_ttft_seconds_count{pool="sim"} 1.0' in page


async def test_each_conversation_of_a_batch_gets_an_answer() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        messages = [[{"role": "user", "content": "x" * 36}]] * 3
        await served.client.post("/v1/chat/completions/batch", json={"messages": messages, "max_tokens": 7})
    assert (pool.asked[0].prompt_tokens, pool.asked[0].output_tokens) == (30, 21)


async def test_an_answer_larger_than_any_completion_is_passed_on() -> None:
    large = b'{"data":"' + b"0" * 20_000_000 + b'"}'

    async def answers(exchange: Exchange) -> None:
        await exchange.answer("200 OK", large, JSON_TYPE)

    async with scripted_rank(answers) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.client.post(EMBEDDINGS, json={"input": "x"})
        await eventually(lambda: nothing_is_held(served, pool))
    assert response.content == large


async def test_an_unknown_model_is_a_404_and_broken_json_a_400() -> None:
    async with serving(pools := pools_of_nobody()) as served:
        unknown = await served.client.post(EMBEDDINGS, json={"input": "x", "model": "nope"})
        broken = await served.client.post(EMBEDDINGS, content=b"{", headers={"content-type": "application/json"})
        undeclared = await served.client.post(EMBEDDINGS, content=b"{}")
    assert [one.status_code for one in (unknown, broken, undeclared)] == [404, 400, 400]
    assert [error_of(one)["type"] for one in (unknown, broken)] == ["NotFoundError", "Bad Request"]
    assert pools.placed == 0


async def test_a_request_without_a_body_names_its_model_in_the_query() -> None:
    async with scripted_rank() as one, scripted_rank() as two:
        fakes = FakePools(FakePool(card(one.url), name="one"), FakePool(card(two.url), name="a two"))
        async with serving(fakes) as served:
            named = await served.client.get("/tokenizer_info?model=a+two")
            unnamed = await served.client.get("/tokenizer_info")
    assert (named.status_code, len(one.requests), len(two.requests)) == (200, 0, 1)
    assert error_of(unnamed)["param"] == "model"


async def test_a_query_that_is_no_ascii_is_a_400() -> None:
    async with serving(pools := pools_of_nobody()) as served:
        status, _, _ = await served.send(post("/tokenize?a=\u00e9", b'{"prompt":"x"}'))
    assert (status, pools.placed) == (400, 0)


@pytest.mark.parametrize("script", [stalls, stalls_after_an_event])
async def test_when_a_client_leaves_the_rank_is_left_too(script: object) -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        rank.script = script  # type: ignore[assignment]
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post("/invocations", b'{"prompt":"x","stream":true}'))
        await eventually(lambda: len(rank.requests) == 1)
        writer.close()
        await eventually(lambda: rank.open_connections == 0)
        await eventually(lambda: nothing_is_held(served, pool))
    assert pool.releases() == {1: 1}


async def test_a_deadline_holds_for_every_route() -> None:
    async with scripted_rank(stalls) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.client.post("/rerank", json={"query": "x"}, headers={"x-request-timeout-ms": "100"})
        await eventually(lambda: nothing_is_held(served, pool))
        await eventually(lambda: rank.open_connections == 0)
    assert (response.status_code, error_of(response)["type"]) == (504, "Gateway Timeout")


async def test_a_rank_that_dies_is_a_502_on_every_route() -> None:
    async with serving(pools_of_nobody()) as served:
        response = await served.client.post("/pooling", json={"input": "x"})
    assert response.status_code == 502


async def test_a_stream_of_an_api_with_other_events_is_passed_on_whole() -> None:
    """As the Cohere API has them: no choices, and no `[DONE]`."""
    events = [
        b'event: message-start\ndata: {"type":"message-start","id":"1"}\n\n',
        b'event: content-delta\ndata: {"type":"content-delta","delta":{"message":{"content":{"text":"h"}}}}\n\n',
        b'event: message-end\ndata: {"type":"message-end"}\n\n',
    ]

    async def answers(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, *map(chunk, events), b"0\r\n\r\n")

    async with scripted_rank(answers) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.client.post("/cohere/v2/chat", json={"messages": [], "stream": True})
    assert response.content == b"".join(events)


async def test_what_a_request_generates_is_learned_by_its_route() -> None:
    async with scripted_rank(completes) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        for path in ("/invocations", "/invocations", "/cohere/v2/chat"):
            await served.client.post(path, json={"prompt": "x"})
    assert [shape.output_tokens for shape in pool.asked] == [256, 1, 256]
