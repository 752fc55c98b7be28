"""/v1/responses, /v1/messages and /inference/v1/generate in two legs: what each rank is sent, what the client gets."""

import json
from typing import Any

import pytest

from tests.gateway.running import eventually
from tests.gateway.scripted_apis import APIS, CACHED, GENERATE, MESSAGES, RESPONSES, Spoken, cached_tokens
from tests.gateway.scripted_pair import PARAMS, Pair, answers, scripted_pair, sent
from tests.gateway.scripted_rank import STREAM_HEAD, Exchange, Script, chunk, streaming
from tests.kv_params import ASK_TO_KEEP

every_api = pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)


def decodes(api: Spoken) -> Script:
    return answers(json.dumps(api.whole).encode())


async def ask(pair: Pair, api: Spoken, **fields: Any) -> Any:
    body = {name: value for name, value in (api.request | fields).items() if value != "absent"}
    return await pair.served.client.post(api.path, json=body)


@every_api
async def test_a_prefill_rank_computes_one_token_and_the_decode_rank_all(api: Spoken) -> None:
    async with scripted_pair(answers(api.prefill_answer), decodes(api)) as pair:
        response = await ask(pair, api)
        await eventually(pair.nothing_is_held)
        page = (await pair.served.client.get("/metrics")).text
    assert response.status_code == 200
    assert pair.names() == ["P", "D"]
    assert sent(pair.prefill) == api.prefill | {"kv_transfer_params": ASK_TO_KEEP}
    assert sent(pair.decode) == api.request | {"kv_transfer_params": PARAMS}
    line = f"POST {api.path} HTTP/1.1"
    assert [pair.prefill.requests[0].line, pair.decode.requests[0].line] == [line, line]
    assert pair.pool.words() == ["dispatched", "prefill_done", "first_token", "released"]
    assert 'forebay_gateway_prompt_estimate_ratio_count{pool="sim"} 1.0' in page


@every_api
async def test_what_was_cached_is_told_as_the_prefill_rank_told_it(api: Spoken) -> None:
    async with scripted_pair(answers(api.prefill_answer), decodes(api)) as pair:
        told = (await ask(pair, api)).json()
    assert cached_tokens(told) == (CACHED, 22)
    assert {**told, "usage": None} == {**api.whole, "usage": None}


@every_api
async def test_a_stream_is_passed_on_as_it_came_but_for_what_was_cached(api: Spoken) -> None:
    async with scripted_pair(answers(api.prefill_answer), streaming(*api.stream.splitlines(keepends=True))) as pair:
        response = await ask(pair, api, stream=True, stream_options={"include_usage": True})
        await eventually(pair.nothing_is_held)
    assert response.content.startswith(api.silent + api.tokens)
    assert sent(pair.decode)["stream"] is True
    assert pair.pool.words() == ["dispatched", "prefill_done", "first_token", "released"]
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    with_usage = [event for event in events if (event.get("response") or event).get("usage")]
    assert cached_tokens(with_usage[-1]) == (CACHED, 22)
    assert "kv_transfer_params" not in response.text.replace('"kv_transfer_params":null', "")


@every_api
async def test_the_usage_of_a_stream_is_learned(api: Spoken) -> None:
    async with scripted_pair(answers(api.prefill_answer), streaming(api.stream)) as pair:
        for _ in range(2):
            await ask(pair, api, stream=True, stream_options={"include_usage": True})
    assert [shape.output_tokens for shape in pair.pool.asked] == [50, 8]


@every_api
@pytest.mark.parametrize("how", ["error", "aborted", "breaks off", "says no more"])
async def test_a_stream_that_fails_before_its_first_token_takes_a_new_pair(api: Spoken, how: str) -> None:
    async def fails(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, *[chunk(api.silent)] * bool(api.silent))
        if how == "breaks off":
            exchange.abort()
        else:
            await exchange.send(chunk({"error": api.error, "aborted": api.aborted}.get(how, b": x\n\n")), b"0\r\n\r\n")

    async with scripted_pair(answers(api.prefill_answer), fails) as pair:
        pair.prefill2.script = answers(api.prefill_answer)
        pair.decode2.script = streaming(api.stream)
        response = await ask(pair, api, stream=True)
        await eventually(pair.nothing_is_held)
    assert response.content.startswith(api.silent + api.tokens)
    assert response.content.count(api.silent) == 1
    assert pair.names() == ["P", "P2", "D", "D2"]


@every_api
async def test_an_answer_that_its_rank_aborts_takes_a_new_pair(api: Spoken) -> None:
    aborted: dict[str, dict[str, Any]] = {
        RESPONSES: {"status": "cancelled"},
        MESSAGES: {"stop_reason": None},
        GENERATE: {"choices": [{"index": 0, "finish_reason": "abort", "token_ids": []}]},
    }
    body = {name: value for name, value in (api.whole | aborted[api.path]).items() if value is not None}
    async with scripted_pair(answers(api.prefill_answer), answers(json.dumps(body).encode())) as pair:
        pair.prefill2.script = answers(api.prefill_answer)
        pair.decode2.script = decodes(api)
        response = await ask(pair, api)
    assert response.status_code == 200
    assert pair.names() == ["P", "P2", "D", "D2"]


@every_api
async def test_a_stream_that_breaks_off_ends_with_an_error_of_its_api(api: Spoken) -> None:
    async def breaks(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(api.silent + api.tokens))
        exchange.abort()

    async with scripted_pair(answers(api.prefill_answer), breaks) as pair:
        response = await ask(pair, api, stream=True)
    passed = (api.silent + api.tokens).decode()
    assert response.text.startswith(passed)
    *name, line = response.text.removeprefix(passed).rstrip("\n").splitlines()
    error = json.loads(line.removeprefix("data: "))
    assert name == ([] if api.path == GENERATE else ["event: error"])
    if api.path == MESSAGES:
        assert error.keys() == {"type", "error"}
        assert error["error"].keys() == {"type", "message"}
    elif api.path == GENERATE:
        assert error["error"]["code"] == 502
    else:
        assert error.keys() == {"type", "code", "message", "param", "sequence_number"}
        assert (error["type"], error["code"], error["sequence_number"]) == ("error", "502", 9)


async def test_a_message_that_was_given_up_is_no_answer() -> None:
    api = next(api for api in APIS if api.path == MESSAGES)
    given_up = json.dumps(api.whole | {"stop_reason": "stop_sequence", "stop_sequence": "recomputed"}).encode()
    async with scripted_pair(answers(api.prefill_answer), answers(given_up)) as pair:
        pair.prefill2.script = answers(api.prefill_answer)
        pair.decode2.script = decodes(api)
        await ask(pair, api)
        assert pair.names() == ["P", "P", "D", "D2"]
        own = await ask(pair, api, stop_sequences=["recomputed"])
    assert own.json()["stop_sequence"] == "recomputed"


@every_api
async def test_transfer_params_of_a_client_reach_no_rank(api: Spoken) -> None:
    evil = {"do_remote_prefill": True, "remote_host": "10.0.0.1"}
    sampling = api.request.get("sampling_params", {}) | {"extra_args": {"kv_transfer_params": evil}}
    for fields in (
        {"kv_transfer_params": evil, "ec_transfer_params": evil, "vllm_xargs": {"kv_transfer_params": evil}},
        {"sampling_params": sampling} if api.path == GENERATE else {},
        {"stream_options": {"include_usage": True}, "kv_transfer_params": evil},  # one rank
    ):
        async with scripted_pair(answers(api.prefill_answer), decodes(api)) as pair:
            await ask(pair, api, **fields)
        assert pair.decode.requests
        for request in [*pair.prefill.requests, *pair.decode.requests]:
            assert b"10.0.0.1" not in request.body


@every_api
async def test_what_goes_to_one_rank_goes_there_as_it_came(api: Spoken) -> None:
    async with scripted_pair(answers(api.prefill_answer), decodes(api)) as pair:
        response = await ask(pair, api, stream_options={"include_usage": True})
    assert pair.names() == ["D"]
    assert sent(pair.decode) == api.request | {"stream_options": {"include_usage": True}}
    assert response.json() == api.whole


@pytest.mark.parametrize("path", [MESSAGES, "/v1/messages/count_tokens"])
async def test_an_anthropic_client_reads_errors_in_its_own_shape(path: str) -> None:
    async with scripted_pair(api_key=["key"]) as pair:
        client = pair.served.client
        key = {"authorization": "Bearer key"}
        told = [
            await client.post(path, json={}),
            await client.get(path, headers=key),
            await client.post(path, json={"model": "none", "messages": [], "max_tokens": 1}, headers=key),
            await client.post(path, content=b"{", headers=key | {"content-type": "application/json"}),
        ]
    assert [response.status_code for response in told] == [401, 405, 404, 400]
    types = ["AuthenticationError", "Method Not Allowed", "NotFoundError", "Bad Request"]
    for response, expected in zip(told, types, strict=True):
        error = response.json()
        assert (error["type"], error["error"].keys()) == ("error", {"type", "message"})
        assert error["error"]["type"] == expected
