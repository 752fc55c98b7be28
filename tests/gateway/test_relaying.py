"""What passes between client and rank, and what does not."""

import asyncio
import json

import anyio
import pytest
from openai import AsyncOpenAI

from scheduler.decision import LegKind
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import CHAT, COMPLETIONS, error_of, eventually, post, serving
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


async def test_headers_that_belong_to_a_connection_or_to_the_gateway_do_not_pass() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        sent = post(
            CHAT,
            b'{"messages":[{"role":"user","content":"hi"}]}',
            "Connection: keep-alive, X-Hop",
            "X-Hop: 1",
            "Keep-Alive: timeout=5",
            "TE: trailers",
            "Upgrade: h2c",
            "Proxy-Authorization: Basic eA==",
            "Cookie: session=1",
            "Accept-Encoding: gzip",
            "X-Data-Parallel-Rank: 5",
            "X-Forebay-Explain: 1",
            "X-Request-Timeout-Ms: 60000",
            "X-Request-Id: mine",
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "X-Session-ID: s1",
            "X-Vllm-Priority: 3",
            "X-Name: J\u00fcrgen",
            "Authorization: Bearer the-rank's",
        )
        status, _, _ = await served.send(sent)
    assert status == 200
    headers = dict(rank.requests[0].headers)
    assert headers.keys() == {
        "host", "content-type", "content-length", "traceparent", "x-session-id", "x-vllm-priority", "x-name",
        "authorization", "x-request-id",
    }  # fmt: skip
    assert headers["host"] == rank.url.removeprefix("http://")
    assert headers["x-request-id"] != "mine"
    assert headers["x-name"].encode("latin-1").decode() == "J\u00fcrgen"


async def test_the_gateways_own_keys_never_reach_a_rank() -> None:
    async with (
        scripted_rank() as rank,
        serving(FakePools(FakePool(card(rank.url))), api_key=("sesame",), admin_key="root") as served,
    ):
        response = await served.complete(headers={"Authorization": "Bearer sesame"})
    assert response.status_code == 200
    assert rank.requests[0].header("authorization") is None


async def test_headers_of_the_ranks_connection_do_not_reach_the_client() -> None:
    async def answers(exchange: Exchange) -> None:
        headers = ("Connection: close, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Server: rank", "X-Kept: yes")
        await exchange.answer("200 OK", b"{}", "content-type: application/json", "X-Request-Id: rank's", *headers)

    async with scripted_rank(answers) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete()
    assert response.headers["x-kept"] == "yes"
    assert response.headers.keys() == {"content-type", "content-length", "x-kept", "x-request-id", "date"}
    assert response.headers["x-request-id"] != "rank's"


async def test_an_engine_behind_a_shared_port_is_named_by_its_local_index() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url, local_index=3)))) as served:
        await served.complete(headers={"X-data-parallel-rank": "0"})
    assert [value for name, value in rank.requests[0].headers if name == "x-data-parallel-rank"] == ["3"]


async def test_each_attempt_has_a_request_id_of_its_own_and_the_client_gets_its_own_back() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        first = await served.complete(headers={"X-Request-Id": "job-7"})
        second = await served.complete(headers={"X-Request-Id": "job-7"})
        third = await served.complete()
    assert first.headers.get_list("x-request-id") == second.headers.get_list("x-request-id") == ["job-7"]
    assert len(third.headers["x-request-id"]) == 32
    ids = {request.header("x-request-id") for request in rank.requests}
    assert len(ids) == 3
    assert "job-7" not in ids


@pytest.mark.parametrize("strange", ["a b", "x" * 129, "quote\u00e9"])
async def test_a_request_id_that_is_none_is_replaced(strange: str) -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.client.get("/healthz", headers=[(b"x-request-id", strange.encode())])
    assert len(response.headers["x-request-id"]) == 32


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_of_the_rank_reaches_the_client_unchanged(stream: bool) -> None:
    body = b'{"error":{"message":"too long","type":"BadRequestError","param":"input_tokens","code":400}}'

    async def refuses(exchange: Exchange) -> None:
        await exchange.answer("400 Bad Request", body, "content-type: application/json", "x-why: length")

    pool = FakePool(card(""))
    async with scripted_rank(refuses) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=stream)
    assert (response.status_code, response.content) == (400, body)
    assert response.headers["x-why"] == "length"
    assert pool.words() == ["dispatched", "released"]


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


async def test_a_rank_that_takes_no_connection_is_a_502() -> None:
    pool = FakePool(card("http://127.0.0.1:9"))
    async with serving(FakePools(pool)) as served:
        response = await served.complete()
    assert error_of(response)["type"] == "Bad Gateway"
    assert response.status_code == 502
    assert pool.words() == ["released"]


async def test_a_rank_that_dies_before_its_answer_is_a_502() -> None:
    async def dies(exchange: Exchange) -> None:
        exchange.abort()

    async with scripted_rank(dies) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=True)
    assert error_of(response)["code"] == 502
    assert pool.words() == ["dispatched", "released"]


async def test_a_rank_that_dies_inside_an_answer_that_is_no_stream_is_a_502() -> None:
    async def dies(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
        exchange.abort()

    async with scripted_rank(dies) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete()
    assert error_of(response)["code"] == 502


@pytest.mark.parametrize("cut_event", [b"", b'data: {"half'])
async def test_a_rank_that_dies_inside_a_stream_ends_it_with_an_error_event(cut_event: bytes) -> None:
    async def dies(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]), *([chunk(cut_event)] if cut_event else []))
        exchange.abort()

    async with scripted_rank(dies) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=True)
    assert response.status_code == 200
    assert response.content.startswith(EVENTS[0])
    *_, last = response.text.rstrip("\n").split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == 502
    assert "[DONE]" not in response.text
    assert response.text.count("\n\n") == (3 if cut_event else 2)
    assert pool.words() == ["dispatched", "first_token", "released"]


async def test_a_large_answer_that_is_no_stream_passes_in_parts() -> None:
    size = 9_000_000

    async def answers(exchange: Exchange) -> None:
        await exchange.answer("200 OK", b"x" * size, "content-type: application/json")

    async with scripted_rank(answers) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete()
    assert response.content == b"x" * size


async def test_phases_follow_the_request_and_a_comment_is_no_token() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        arrived, token, end = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def goes_slowly(exchange: Exchange) -> None:
            await exchange.send(STREAM_HEAD, chunk(b": keep-alive\n\n"))
            arrived.set()
            await token.wait()
            await exchange.send(chunk(EVENTS[0]))
            await end.wait()
            await exchange.send(chunk(EVENTS[-1]), NO_MORE)

        rank.script = goes_slowly
        async with served.client.stream("POST", COMPLETIONS, json={"prompt": "x", "stream": True}) as response:
            parts = response.aiter_bytes()
            await arrived.wait()
            assert await anext(parts) == b": keep-alive\n\n"
            assert pool.words() == ["dispatched"]
            token.set()
            assert await anext(parts) == EVENTS[0]
            assert pool.words() == ["dispatched", "first_token"]
            assert pool.live == {1}
            end.set()
            assert [part async for part in parts] == [EVENTS[-1]]
        await eventually(lambda: pool.words() == ["dispatched", "first_token", "released"])


@pytest.mark.parametrize(
    ("kind", "named", "not_named"),
    [
        (LegKind.WHOLE, "x-forebay-decode", "x-forebay-prefill"),
        (LegKind.DECODE, "x-forebay-decode", "x-forebay-prefill"),
        (LegKind.PREFILL, "x-forebay-prefill", "x-forebay-decode"),
    ],
)
async def test_where_it_is_allowed_an_answer_says_who_served_it(kind: LegKind, named: str, not_named: str) -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url))), explain=True) as served:
        pool.kind = kind
        response = await served.complete(headers={"X-Forebay-Explain": "1"})
        plain = await served.complete()
    assert response.headers[named] == rank.url.removeprefix("http://")
    assert response.headers["x-forebay-gateway"] == "7@gateway"
    assert not_named not in response.headers
    assert "x-forebay-decode" not in plain.headers
    assert pool.explained == [True, False]


async def test_where_it_is_not_allowed_an_answer_does_not_say_who_served_it() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.complete(headers={"X-Forebay-Explain": "1"})
    assert not [name for name in response.headers if name.startswith("x-forebay")]
    assert pool.explained == [False]


async def test_the_openai_client_is_served() -> None:
    async with (
        scripted_rank() as rank,
        serving(FakePools(FakePool(card(rank.url))), api_key=("k1", "k2")) as served,
        AsyncOpenAI(base_url=f"{served.url}/v1", api_key="k2") as client,
    ):
        completion = await client.completions.create(model="sim", prompt="x")
        assert completion.choices[0].text == "hi"
        rank.script = streams
        stream = await client.completions.create(model="sim", prompt="x", stream=True)
        assert [event.choices[0].text async for event in stream if event.choices] == ["h", "i"]
        assert [model.id async for model in client.models.list()] == ["sim"]


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


async def test_what_a_rank_sends_past_the_end_of_its_answer_reaches_nobody() -> None:
    async def poisons(exchange: Exchange) -> None:
        await completes(exchange)
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nPOISON")

    async with scripted_rank(poisons) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        answers = [(await served.complete()).content for _ in range(3)]
    assert answers == [COMPLETION] * 3


async def test_a_status_that_http_does_not_know_is_a_failure_of_the_rank() -> None:
    async def odd(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 799 Odd\r\ncontent-length: 0\r\n\r\n")

    async with scripted_rank(odd) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.complete()
    assert (response.status_code, error_of(response)["code"]) == (502, 502)
    assert pool.words()[-1] == "released"


async def test_a_rank_whose_address_is_no_url_is_unreachable() -> None:
    async with serving(FakePools(pool := FakePool(card("http://[::1")))) as served:
        response = await served.complete()
    assert response.status_code == 502
    assert pool.shunned
    assert not pool.live
