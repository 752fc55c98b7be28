"""A request in two legs: what each rank is sent, what the client gets, what is told of it."""

import asyncio
import json
from typing import Any

import pytest

from tests.gateway.running import CHAT, eventually
from tests.gateway.scripted_pair import PARAMS, answers, prefill_answer, scripted_pair, sent
from tests.gateway.scripted_rank import COMPLETION, EVENTS, NO_MORE, STREAM_HEAD, Exchange, chunk, streams
from tests.kv_params import ASK_TO_KEEP
from tests.sse import event_of

MESSAGES = [{"role": "user", "content": "Hello"}]


async def test_a_prefill_rank_computes_one_token_and_says_where_its_kv_is() -> None:
    async with scripted_pair() as pair:
        response = await pair.served.complete(max_tokens=50, min_tokens=5, temperature=0)
    assert response.status_code == 200
    assert response.content == COMPLETION
    assert sent(pair.prefill) == {
        "model": "sim",
        "prompt": "Once upon a time",
        "temperature": 0,
        "max_tokens": 1,
        "stream": False,
        "kv_transfer_params": ASK_TO_KEEP,
    }
    assert pair.names() == ["P", "D"]


async def test_a_decode_rank_gets_the_clients_request_and_the_params_verbatim() -> None:
    odd = (
        b'{"usage":{"prompt_tokens":66},"kv_transfer_params":{ "remote_port" : 5601, "new_key":[1.50,null],'
        b'"do_remote_prefill":true,"remote_block_ids":[[1,2,3]],"remote_engine_id":"\\u00e9","remote_request_id":"r",'
        b'"remote_host":"127.0.0.1","tp_size":1}}'
    )
    async with scripted_pair(answers(odd), streams) as pair:
        await pair.served.complete(max_tokens=50, min_tokens=5, stream=True, stream_options={"include_usage": True})
    asked = sent(pair.decode)
    assert (asked["stream"], asked["max_tokens"], asked["min_tokens"]) == (True, 50, 5)
    assert asked["stream_options"] == {"include_usage": True}
    verbatim = odd.partition(b'"kv_transfer_params":')[2][:-1]
    assert b'"kv_transfer_params":' + verbatim in pair.decode.requests[0].body


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({}, {"max_tokens": 1}),
        ({"max_tokens": 9}, {"max_tokens": 1}),
        ({"max_completion_tokens": 9}, {"max_tokens": 1, "max_completion_tokens": 1}),
        ({"max_tokens": None, "max_completion_tokens": None}, {"max_tokens": 1, "max_completion_tokens": 1}),
    ],
)
async def test_every_limit_of_a_chat_is_one_token_for_the_prefill(
    given: dict[str, int | None], limits: dict[str, int]
) -> None:
    async with scripted_pair() as pair:
        body = {"model": "sim", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
        await pair.served.client.post(CHAT, json=body | given)
    asked = sent(pair.prefill)
    assert {name: value for name, value in asked.items() if name.startswith("max_")} == limits
    assert asked["stream"] is False
    assert "stream_options" not in asked
    assert pair.prefill.requests[0].line == "POST /v1/chat/completions HTTP/1.1" == pair.decode.requests[0].line


async def test_both_legs_of_an_attempt_have_one_id_of_their_own() -> None:
    async with scripted_pair() as pair:
        await pair.served.complete(headers={"X-Request-Id": "mine", "traceparent": "00-1"})
        await pair.served.complete(headers={"X-Request-Id": "mine"})
    (first, second), (third, fourth) = zip(
        *([request.header("x-request-id") for request in rank.requests] for rank in (pair.prefill, pair.decode)),
        strict=True,
    )
    assert first == second != third == fourth
    assert "mine" not in (first, third)
    assert pair.prefill.requests[0].header("traceparent") == "00-1" == pair.decode.requests[0].header("traceparent")


async def test_a_reservation_goes_through_its_phases() -> None:
    async with scripted_pair(decode=streams) as pair:
        await pair.served.complete(stream=True)
        assert pair.pool.words() == ["dispatched", "prefill_done", "first_token", "released"]
        await pair.served.complete()
        assert pair.pool.words(2) == ["dispatched", "prefill_done", "first_token", "released"]


async def test_the_decode_rank_may_be_another_when_the_prefill_is_done() -> None:
    async with scripted_pair(explain=True) as pair:
        pair.pool.rebinds = [pair.pool.view.ranks["D2"].card]
        response = await pair.served.complete(headers={"x-forebay-explain": "1"})
        page = (await pair.served.client.get("/metrics")).text
    assert pair.names() == ["P", "D2"]
    assert (response.headers["x-forebay-prefill"], response.headers["x-forebay-decode"]) == ("P", "D2")
    assert pair.pool.explained == pair.pool.rebound_for == [response.headers["x-request-id"]]
    assert 'forebay_gateway_placements_total{pool="sim",rank="P"} 1.0' in page
    assert 'forebay_gateway_placements_total{pool="sim",rank="D2"} 1.0' in page
    assert 'forebay_gateway_placements_total{pool="sim",rank="D"} 0.0' in page
    assert 'forebay_gateway_prefill_seconds_count{pool="sim"} 1.0' in page


async def test_the_log_has_both_ranks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with scripted_pair() as pair:
        await pair.served.complete()
    (line,) = [json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway.access"]
    assert (line["prefill_rank"], line["rank"]) == ("P", "D")


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2}, {"prompt": ["a", "b"]}, {"prompt_logprobs": 0}, {"echo": True, "logprobs": 1}, {"best_of": 2},
        {"use_beam_search": True}, {"stream_options": {"include_usage": True}}, {"min_tokens": "x"},
        {"prompt": [[1, 2], [3]]},
    ],
)  # fmt: skip
async def test_what_has_more_than_one_answer_or_scores_its_prompt_goes_to_a_decode_rank_whole(
    fields: dict[str, Any],
) -> None:
    async with scripted_pair() as pair:
        await pair.served.complete(**fields)
    assert pair.names() == ["D"]
    assert "kv_transfer_params" not in sent(pair.decode)
    assert pair.pool.words() == ["dispatched", "first_token", "released"]


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1}, {"prompt": ["a"]}, {"prompt": [1, 2]}, {"echo": True}, {"logprobs": 1}, {"best_of": 1},
        {"use_beam_search": False}, {"n": None, "prompt_logprobs": None},
    ],
)  # fmt: skip
async def test_one_prompt_with_one_answer_goes_to_a_pair(fields: dict[str, Any]) -> None:
    async with scripted_pair() as pair:
        await pair.served.complete(**fields)
    assert pair.names() == ["P", "D"]


async def test_a_client_never_steers_the_transfer() -> None:
    async with scripted_pair() as pair:
        await pair.served.complete(kv_transfer_params={"do_remote_prefill": True, "remote_host": "evil"})
    assert sent(pair.prefill)["kv_transfer_params"] == ASK_TO_KEEP
    assert sent(pair.decode)["kv_transfer_params"] == PARAMS


USAGE = b'"usage":{"prompt_tokens":66,"prompt_tokens_details":{"cached_tokens":66},"completion_tokens":2}'
BODY = b'{"id":"x","kv_transfer_params":{"do_remote_decode":true,"remote_host":"10.0.0.1"},' + USAGE + b"}"


async def test_a_client_is_shown_what_the_prefill_had_cached_and_no_params() -> None:
    async with scripted_pair(decode=answers(BODY)) as pair:
        response = await pair.served.complete()
    body = response.json()
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 32}
    assert body["kv_transfer_params"] is None
    assert body["id"] == "x"


async def test_a_stream_shows_what_the_prefill_had_cached_in_each_usage_and_no_params() -> None:
    async def streams_usage(exchange: Exchange) -> None:
        event = b"data: " + BODY + b"\n\n"
        # As TCP may cut it.
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0] + event[:50]), chunk(event[50:]), chunk(event + EVENTS[-1]))
        await exchange.send(NO_MORE)

    cached = prefill_answer(usage={"prompt_tokens": 66, "prompt_tokens_details": {"cached_tokens": 48}})
    async with scripted_pair(answers(cached), streams_usage) as pair:
        response = await pair.served.complete(stream=True, stream_options={"include_usage": True})
    first, *usages, last, _ = response.text.split("\n\n")
    assert (first + "\n\n").encode() == EVENTS[0]
    assert last == "data: [DONE]"
    assert len(usages) == 2
    for usage in usages:
        event = event_of(usage)
        assert event["usage"]["prompt_tokens_details"]["cached_tokens"] == 48
        assert event["kv_transfer_params"] is None


async def test_params_of_a_rank_that_serves_alone_reach_no_client() -> None:
    async with scripted_pair(decode=answers(BODY)) as pair:
        response = await pair.served.complete(n=2)
    assert response.json()["kv_transfer_params"] is None
    assert response.json()["usage"]["prompt_tokens_details"] == {"cached_tokens": 66}


async def test_a_stream_through_a_pair_is_passed_on_as_it_comes() -> None:
    released = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]))
        await released.wait()
        await exchange.send(*map(chunk, EVENTS[1:]), NO_MORE)

    async with scripted_pair(decode=waits) as pair:
        body = {"model": "sim", "prompt": "x", "stream": True}
        async with pair.served.client.stream("POST", "/v1/completions", json=body) as response:
            parts = response.aiter_bytes()
            assert await anext(parts) == EVENTS[0]
            released.set()
            assert b"".join([part async for part in parts]) == b"".join(EVENTS[1:])
        await eventually(pair.nothing_is_held)
