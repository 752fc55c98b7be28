"""What becomes of a request whose prefill or decode rank fails: another try, or the last error as it came."""

import asyncio
import json
from typing import Any

import pytest

from gateway.relay import EDITED_BYTES
from scheduler.messages import Role
from tests.gateway.fake_pools import card
from tests.gateway.running import eventually
from tests.gateway.scripted_pair import PARAMS, Pair, answers, prefill_answer, scripted_pair, sent
from tests.gateway.scripted_rank import (
    COMPLETION,
    EVENTS,
    NO_MORE,
    STREAM_HEAD,
    Exchange,
    Script,
    breaks_off,
    chunk,
    completes,
    stalls,
    streams,
)

ROLE_EVENT = (
    b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"role":"assistant","content":""},'
    b'"finish_reason":null}]}\n\n'
)
ERROR_EVENT = b'data: {"error": {"message": "Internal server error", "type": "InternalServerError", "code": 500}}\n\n'
SILENT_EVENTS = (
    b': x\n\ndata: null\n\ndata: {"choices":[]}\n\ndata: {"choices":[],"usage":{"prompt_tokens":5}}\n\n'
    b'data: {"choices":[{"index":0,"text":"","finish_reason":null}]}\n\n'
)
RECOMPUTED_EVENT = (
    b'data: {"choices":[{"index":0,"text":"","finish_reason":"stop","stop_reason":"recomputed","token_ids":null}]}\n\n'
)
RECOMPUTED = b'{"choices":[{"index":0,"text":"hi","finish_reason":"stop","stop_reason":"recomputed"}]}'


def streaming(*parts: bytes) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, *map(chunk, parts), NO_MORE)

    return script


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in PARAMS.items() if key != name}


def retried(pair: Pair) -> list[frozenset[str]]:
    return pair.pool.avoided[1:]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_prefill_rank_refuses_reaches_the_client_as_it_came(stream: bool) -> None:
    body = b'{"error":{"message":"too long","type":"BadRequestError","param":"input_tokens","code":400}}'
    async with scripted_pair(answers(body, "400 Bad Request")) as pair:
        response = await pair.served.complete(stream=stream)
    assert (response.status_code, response.content) == (400, body)
    assert pair.names() == ["P"]
    assert pair.pool.words() == ["dispatched", "released"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_of_the_prefill_rank_is_never_taken_for_a_recomputation(stream: bool) -> None:
    async with scripted_pair(answers(RECOMPUTED, "400 Bad Request")) as pair:
        response = await pair.served.complete(stream=stream)
    assert (response.status_code, response.content) == (400, RECOMPUTED)
    assert pair.names() == ["P"]


async def stalls_in_its_answer(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
    await exchange.until_closed()


async def dies_in_its_answer(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
    exchange.abort()


async def is_endless(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        await exchange.send(chunk(b" " * 100_000))


BAD_PREFILLS: dict[str, Script] = {
    "500": answers(b"{}", "500 Internal Server Error"),
    "503": answers(b"{}", "503 Service Unavailable"),
    "302": answers(b"{}", "302 Found"),
    "broken off": breaks_off,
    "broken off inside": dies_in_its_answer,
    "silent": stalls,
    "silent inside": stalls_in_its_answer,
    "endless": is_endless,
    "no JSON": answers(b"<html>"),
    "empty": answers(b""),
    "a list": answers(b"[]"),
    "invalid UTF-8": answers(prefill_answer().replace(b"a89bdb21", b"\xff\xfe")),
    "deep": answers(b'{"kv_transfer_params":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "an error": answers(b'{"error":{"message":"Internal server error","code":500}}'),
    "a stream": streams,
    "no length": answers(prefill_answer(usage=None)),
    "too many things": answers(prefill_answer(x=[[]] * 200_000)),
}
BAD_PARAMS: dict[str, Any] = {
    "text": "x",
    "a number": 5,
    "a list": [PARAMS],
    "true": True,
    "alone": {"do_remote_prefill": True},
    "no prefill": PARAMS | {"do_remote_prefill": False},
    "prefill as text": PARAMS | {"do_remote_prefill": "true"},
    "no blocks": PARAMS | {"remote_block_ids": []},
    "an empty group": PARAMS | {"remote_block_ids": [[]]},
    "flat blocks": PARAMS | {"remote_block_ids": [1, 2, 3]},
    "blocks as text": PARAMS | {"remote_block_ids": "123"},
    "block as text": PARAMS | {"remote_block_ids": [["1", 2, 3]]},
    "negative block": PARAMS | {"remote_block_ids": [[-1, 2, 3]]},
    "half a block": PARAMS | {"remote_block_ids": [[1.5, 2, 3]]},
    "too few blocks": PARAMS | {"remote_block_ids": [[117, 118]]},
    "engine a number": PARAMS | {"remote_engine_id": 1},
    "engine empty": PARAMS | {"remote_engine_id": ""},
    "request null": PARAMS | {"remote_request_id": None},
    "host missing": without("remote_host"),
    "port as text": PARAMS | {"remote_port": "5601"},
    "port too large": PARAMS | {"remote_port": 65536},
    "port zero": PARAMS | {"remote_port": 0},
    "port true": PARAMS | {"remote_port": True},
    "block beyond 31 bits": PARAMS | {"remote_block_ids": [[1, 2, 1 << 31]]},
    "too many groups": PARAMS | {"remote_block_ids": [[1, 2, 3]] * 65},
    "tensor size missing": without("tp_size"),
    "tensor size null": PARAMS | {"tp_size": None},
    "tensor size zero": PARAMS | {"tp_size": 0},
    "tensor size too large": PARAMS | {"tp_size": 4097},
    "pipeline size too large": PARAMS | {"pp_size": 4097},
    "context size too large": PARAMS | {"dcp_size": 1_000_000},
    "context size null": PARAMS | {"dcp_size": None},
    "tokens as text": PARAMS | {"remote_num_tokens": "66"},
    "no tokens": PARAMS | {"remote_num_tokens": 0},
    "expiry as text": PARAMS | {"remote_blocks_expiry_time": "soon"},
    "push": PARAMS | {"transfer_mode": "push"},
    "decode": PARAMS | {"do_remote_decode": True},
    "block size zero": PARAMS | {"remote_block_size": 0},
    "block size as text": PARAMS | {"remote_block_size": "16"},
    "host empty": PARAMS | {"remote_host": ""},
    "host with a space": PARAMS | {"remote_host": "10.0.0.1 x"},
    "host with a line's end": PARAMS | {"remote_host": "10.0.0.1\n"},
    "host not ASCII": PARAMS | {"remote_host": "höst"},
    "host too long": PARAMS | {"remote_host": "h" * 254},
    "a prompt of its own": PARAMS | {"prompt_token_ids": [1, 2, 3]},
    "a prompt of its own, null": PARAMS | {"prompt_token_ids": None},
    "many lists": PARAMS | {"x": [[]] * 5000},
    "many keys": PARAMS | {"x": {str(number): 0 for number in range(5000)}},
    "many numbers": PARAMS | {"x": [0] * 300_000},
    "large": PARAMS | {"x": "x" * 1_000_000},
    "deep": PARAMS | {"x": json.loads("[" * 64 + "]" * 64)},
}


@pytest.mark.parametrize("name", BAD_PREFILLS)
async def test_a_prefill_rank_that_fails_is_replaced(name: str) -> None:
    # Long enough for the second one to be in time on a busy machine.
    prefill_ms = 2_000 if name.startswith("silent") else 300_000
    async with scripted_pair(BAD_PREFILLS[name], prefill_ms=prefill_ms) as pair:
        response = await pair.served.complete()
        page = (await pair.served.client.get("/metrics")).text
        await eventually(pair.nothing_is_held)
    assert response.content == COMPLETION
    assert pair.names() == ["P", "P2", "D"]
    assert retried(pair) == [{"P"}]
    assert 'forebay_gateway_retries_total{pool="sim",reason="prefill_failed"} 1.0' in page
    assert set(pair.pool.releases().values()) == {1}


async def test_what_is_tried_again_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    async with scripted_pair(answers(prefill_answer(PARAMS | {"remote_port": 0}))) as pair:
        await pair.served.complete()
    (line,) = [json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway.serving"]
    assert (line["event"], line["reason"], line["rank"]) == ("retry", "prefill_failed", "P")
    assert "remote_port" in line["error"]
    assert line["attempt_id"] == pair.prefill.requests[0].header("x-request-id")


@pytest.mark.parametrize("name", BAD_PARAMS)
async def test_params_that_a_decode_rank_must_not_be_given_fail_their_prefill_rank(name: str) -> None:
    async with scripted_pair(answers(prefill_answer(BAD_PARAMS[name]))) as pair:
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert pair.names() == ["P", "P2", "D"]
    assert sent(pair.decode)["kv_transfer_params"] == PARAMS


async def test_a_prefill_rank_that_counts_fewer_tokens_than_ids_it_was_sent_is_replaced() -> None:
    async with scripted_pair() as pair:
        pair.prefill2.script = answers(prefill_answer(usage={"prompt_tokens": 90}))
        await pair.served.complete(prompt=list(range(90)))
    assert pair.names() == ["P", "P2", "D"]


async def test_a_large_request_allows_no_larger_answer_of_its_prefill_rank() -> None:
    async with scripted_pair(answers(prefill_answer(x="x" * 8_000_000))) as pair:
        await pair.served.complete(prompt="x" * 6_000_000)
    assert pair.names() == ["P", "P2", "D"]


async def test_params_as_deep_as_may_be_reach_the_decode_rank() -> None:
    params = PARAMS | {"x": json.loads("[" * 63 + "]" * 63)}
    async with scripted_pair(answers(prefill_answer(params))) as pair:
        await pair.served.complete()
    assert sent(pair.decode)["kv_transfer_params"] == params


async def test_a_prefill_rank_that_takes_no_connection_is_shunned_and_replaced() -> None:
    async with scripted_pair() as pair:
        gone = card("http://127.0.0.1:9", rank="P", role=Role.PREFILL)
        pair.pool.view.ranks["P"] = pair.pool.view.ranks["P"]._replace(card=gone)  # type: ignore[index]
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert pair.pool.shunned == ["P"]
    assert pair.names() == ["P2", "D"]


async def test_after_two_prefill_ranks_that_failed_the_decode_rank_serves_alone() -> None:
    async with scripted_pair(breaks_off) as pair:
        pair.prefill2.script = answers(b"{}", "500 Internal Server Error")
        response = await pair.served.complete(max_tokens=9)
    assert response.content == COMPLETION
    assert pair.names() == ["P", "P2", "D"]
    assert "kv_transfer_params" not in sent(pair.decode)
    assert sent(pair.decode)["max_tokens"] == 9
    assert [shape.pairable for shape in pair.pool.asked] == [True, True, False]


@pytest.mark.parametrize("params", [None, {}, "missing"])
async def test_where_a_prefill_offers_no_kv_the_decode_rank_serves_alone(params: Any) -> None:
    answer = prefill_answer(params)
    if params == "missing":
        answer = json.dumps({k: v for k, v in json.loads(answer).items() if k != "kv_transfer_params"}).encode()
    async with scripted_pair(answers(answer)) as pair:
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert pair.names() == ["P", "D"]
    assert "kv_transfer_params" not in sent(pair.decode)
    assert [shape.pairable for shape in pair.pool.asked] == [True, False]


async def test_where_the_block_size_is_not_known_blocks_are_not_counted() -> None:
    few = prefill_answer(PARAMS | {"remote_block_ids": [[117]]})
    async with scripted_pair(answers(few), block_size=0) as pair:
        await pair.served.complete()
    assert pair.names() == ["P", "D"]


BAD_DECODES: dict[str, Script] = {
    "500": answers(b"{}", "500 Internal Server Error"),
    "503": answers(b"{}", "503 Service Unavailable"),
    "broken off": breaks_off,
    "broken off inside": dies_in_its_answer,
    "an error": answers(b'{"error":{"message":"Internal server error","code":500}}'),
    "a million objects": answers(b'{"choices":[' + b"{}," * 1_000_000 + b'{}],"x":"recomputed"}'),
    "larger than any": answers(b" " * (EDITED_BYTES + 1)),
    "params and no number": answers(b'{"logprob":NaN,"kv_transfer_params":{"remote_host":"10.0.0.1"}}'),
}
BAD_STREAMS: dict[str, Script] = {
    "500": BAD_DECODES["500"],
    "broken off": breaks_off,
    "an error": streaming(ERROR_EVENT, b"data: [DONE]\n\n"),
    "an error after its role": streaming(ROLE_EVENT, ERROR_EVENT, b"data: [DONE]\n\n"),
    "an error at once": streaming(b": keep-alive\n\n" + ROLE_EVENT + ERROR_EVENT),
    "an error in pieces": streaming(ROLE_EVENT[:40], ROLE_EVENT[40:] + ERROR_EVENT[:9], ERROR_EVENT[9:]),
    "an error after a usage": streaming(SILENT_EVENTS, ERROR_EVENT),
    "an error after comments": streaming(*[b":\n\n"] * 5_000, ERROR_EVENT),
    "an error that is no stream": answers(b'{"error":{"message":"Internal server error","code":500}}'),
    "its end": streaming(b"data: [DONE]\n\n"),
    "its end after a role": streaming(ROLE_EVENT, b"data: [DONE]\n\n"),
    "nothing": streaming(),
    "a role only": streaming(ROLE_EVENT),
}


@pytest.mark.parametrize(
    ("stream", "name"), [(False, name) for name in BAD_DECODES] + [(True, name) for name in BAD_STREAMS]
)
async def test_a_decode_rank_that_fails_is_replaced_with_a_whole_new_pair(stream: bool, name: str) -> None:
    async with scripted_pair(decode=(BAD_STREAMS if stream else BAD_DECODES)[name]) as pair:
        pair.decode2.script = streams if stream else completes
        pair.prefill2.script = answers(prefill_answer(PARAMS | {"remote_request_id": "another"}))
        response = await pair.served.complete(stream=stream)
        await eventually(pair.nothing_is_held)
    assert response.content == (b"".join(EVENTS) if stream else COMPLETION)
    # It may have died of what it was given, and the next one would.
    assert pair.names() == ["P", "P2", "D", "D2"]
    assert retried(pair) == [{"D", "P"}]
    assert sent(pair.decode)["kv_transfer_params"]["remote_request_id"] == PARAMS["remote_request_id"]
    assert sent(pair.decode2)["kv_transfer_params"]["remote_request_id"] == "another"
    first, second = (one.requests[0].header("x-request-id") for one in (pair.prefill, pair.prefill2))
    assert first != second == pair.decode2.requests[0].header("x-request-id")


async def test_what_a_decode_rank_refuses_reaches_the_client_as_it_came() -> None:
    body = b'{"error":{"message":"no","type":"BadRequestError","param":null,"code":400}}'
    async with scripted_pair(decode=answers(body, "400 Bad Request")) as pair:
        response = await pair.served.complete()
    assert (response.status_code, response.content) == (400, body)
    assert pair.names() == ["P", "D"]


@pytest.mark.parametrize("stream", [False, True])
async def test_after_three_placements_the_last_error_reaches_the_client_as_it_came(stream: bool) -> None:
    body = b'{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}'
    async with scripted_pair(decode=answers(body, "500 Internal Server Error")) as pair:
        pair.decode2.script = pair.decode.script
        response = await pair.served.complete(stream=stream)
    assert (response.status_code, response.content) == (500, body)
    assert pair.names().count("P") == pair.names().count("P2") == 1
    assert retried(pair) == [{"P", "D"}, {"P", "D", "P2", "D2"}]
    assert set(pair.pool.releases().values()) == {1}


async def test_an_error_event_of_the_last_placement_reaches_the_client_as_it_came() -> None:
    script = streaming(ROLE_EVENT, ERROR_EVENT, b"data: [DONE]\n\n")
    async with scripted_pair(decode=script) as pair:
        pair.decode2.script = script
        response = await pair.served.complete(stream=True)
    assert response.content == ROLE_EVENT + ERROR_EVENT + b"data: [DONE]\n\n"


async def test_a_decode_rank_that_dies_once_the_client_has_something_is_told_and_not_replaced() -> None:
    async def dies(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]))
        exchange.abort()

    async with scripted_pair(decode=dies) as pair:
        response = await pair.served.complete(stream=True)
    assert response.content.startswith(EVENTS[0])
    assert '"code":502' in response.text
    assert "[DONE]" not in response.text
    assert pair.names() == ["P", "D"]


async def test_where_no_decode_rank_is_left_the_prefill_is_freed_and_a_new_pair_taken() -> None:
    async with scripted_pair() as pair:
        pair.pool.rebinds = [None]
        response = await pair.served.complete()
        await eventually(lambda: len(pair.decode.requests) + len(pair.decode2.requests) == 2)
        await eventually(pair.nothing_is_held)
    assert response.content == COMPLETION
    assert pair.names().count("P") == 2
    assert retried(pair) == [{"D"}]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_decode_rank_that_is_not_reached_while_the_kv_is_held_is_given_up(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.connectors.nixl.Nixl.reach_within_s", 0.3)
    async with scripted_pair(decode=stalls if stream else completes) as pair:
        pair.decode2.script = streams if stream else completes
        if not stream:
            # The rebinding takes too long, so that no pair's decode rank gets the request.
            pair.pool.rebind_s = 0.5
        response = await pair.served.complete(stream=stream)
        await eventually(pair.nothing_is_held)
    if stream:
        assert response.content == b"".join(EVENTS)
        assert pair.names() == ["P", "P2", "D", "D2"]
        assert retried(pair) == [{"P", "D"}]
    else:
        assert retried(pair)[0] == {"D"}
        assert response.content == COMPLETION
        assert [shape.pairable for shape in pair.pool.asked] == [True, True, False]
        assert pair.pool.rebound_avoiding == [frozenset(), {"D"}]


async def test_an_answer_that_is_not_streamed_may_take_longer_than_its_kv_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.connectors.nixl.Nixl.reach_within_s", 0.1)

    async def completes_late(exchange: Exchange) -> None:
        await asyncio.sleep(0.3)
        await completes(exchange)

    async with scripted_pair(decode=completes_late) as pair:
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert pair.names() == ["P", "D"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_recomputed_answer_takes_a_whole_new_pair_and_no_prefill_rank_is_avoided(stream: bool) -> None:
    recomputed = streaming(RECOMPUTED_EVENT, b"data: [DONE]\n\n") if stream else answers(RECOMPUTED)
    async with scripted_pair(decode=recomputed) as pair:
        pair.decode2.script = streams if stream else completes
        response = await pair.served.complete(stream=stream)
        page = (await pair.served.client.get("/metrics")).text
    assert response.content == (b"".join(EVENTS) if stream else COMPLETION)
    assert pair.names() == ["P", "P", "D", "D2"]
    assert retried(pair) == [{"D"}]
    assert len({request.header("x-request-id") for request in pair.prefill.requests}) == 2
    assert 'reason="recomputed"} 1.0' in page


async def test_where_a_decode_rank_takes_no_connection_its_prefill_rank_is_not_avoided() -> None:
    async with scripted_pair() as pair:
        gone = card("http://127.0.0.1:9", rank="D", role=Role.DECODE)
        pair.pool.view.ranks["D"] = pair.pool.view.ranks["D"]._replace(card=gone)  # type: ignore[index]
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert retried(pair) == [{"D"}]


async def test_a_recomputed_answer_of_a_decode_rank_alone_is_tried_anew() -> None:
    async with scripted_pair(decode=answers(RECOMPUTED)) as pair:
        response = await pair.served.complete(n=2)
    assert response.content == COMPLETION
    assert pair.names() == ["D", "D2"]


async def test_a_stream_that_is_recomputed_ends_with_a_clear_error() -> None:
    async with scripted_pair(decode=streaming(EVENTS[0] + RECOMPUTED_EVENT, b"data: [DONE]\n\n")) as pair:
        response = await pair.served.complete(stream=True)
        await eventually(pair.nothing_is_held)
    assert response.content.startswith(EVENTS[0])
    error = json.loads(response.content.removeprefix(EVENTS[0]).removeprefix(b"data: "))["error"]
    assert error["code"] == 502
    assert "KV cache" in error["message"]
    assert b"recomputed" not in response.content


@pytest.mark.parametrize("stop", ["recomputed", ["x", "recomputed"], ["\\u0072ecomputed"]])
async def test_a_stop_string_of_the_clients_own_is_no_recomputation(stop: Any) -> None:
    async with scripted_pair(decode=answers(RECOMPUTED)) as pair:
        raw = json.dumps({"model": "sim", "prompt": "x", "stop": stop}).replace("\\\\", "\\")
        response = await pair.served.client.post(
            "/v1/completions", content=raw, headers={"content-type": "application/json"}
        )
    assert response.content == RECOMPUTED


ABORTED_EVENT = b'data: {"choices":[{"index":0,"text":"","finish_reason":"abort"}]}\n\n'
"""How a vLLM that is told to stop ends a stream."""


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_decode_rank_aborts_before_it_has_said_anything_takes_a_new_pair(stream: bool) -> None:
    whole = b'{"choices":[{"index":0,"text":"hi","finish_reason":"abort"}]}'
    script = streaming(ABORTED_EVENT, b"data: [DONE]\n\n") if stream else answers(whole)
    async with scripted_pair(decode=script) as pair:
        pair.decode2.script = streams if stream else completes
        response = await pair.served.complete(stream=stream)
    assert response.content == (b"".join(EVENTS) if stream else COMPLETION)
    assert retried(pair)[0] >= {"D"}


async def test_a_stream_that_a_decode_rank_aborts_ends_with_an_error() -> None:
    async with scripted_pair(decode=streaming(EVENTS[0], ABORTED_EVENT, b"data: [DONE]\n\n")) as pair:
        response = await pair.served.complete(stream=True)
    assert response.content.startswith(EVENTS[0])
    assert b"aborted the request" in response.content
    assert b"[DONE]" not in response.content
