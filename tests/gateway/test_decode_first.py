"""A request whose decode rank goes first: what each rank gets, and what becomes of its calls."""

import asyncio
import json
import re
from typing import Any

import pytest

from gateway.connectors.mooncake_layerwise import MooncakeLayerwise
from gateway.metaserver import PATH
from scheduler.messages import Role
from tests.gateway.fake_pools import card
from tests.gateway.running import eventually, post
from tests.gateway.scripted_decode_first import CALL, LIFE, Calls, call, decode_first
from tests.gateway.scripted_pair import prefill_answer, sent
from tests.gateway.scripted_rank import Exchange, completes, stalls, streams


async def test_the_decode_rank_is_sent_the_request_and_a_url_that_only_it_knows() -> None:
    calls = Calls()
    calls.may_decode.set()
    async with decode_first(calls.script) as pair:
        await pair.served.complete(user="me")
        await pair.served.complete()
    first, second = (sent(pair.decode, number) for number in (0, 1))
    params = first.pop("kv_transfer_params")
    assert first == {
        "model": "sim",
        "prompt": "Once upon a time",
        "max_tokens": 8,
        "user": "me",
    }
    assert {name: params[name] for name in ("do_remote_decode", "do_remote_prefill")} == {
        "do_remote_decode": False,
        "do_remote_prefill": True,
    }
    assert re.fullmatch(rf"http://127\.0\.0\.1:{pair.served.port}{PATH}{LIFE}\.[\w-]{{32}}", params["metaserver"])
    assert second["kv_transfer_params"]["metaserver"] != params["metaserver"]


async def test_the_prefill_rank_is_sent_the_same_under_the_same_id_with_what_the_decode_rank_wrote() -> None:
    calls = Calls(CALL | {"new": {"er": [1.50, None]}})
    calls.may_decode.set()
    async with decode_first(calls.script) as pair:
        answer = await pair.served.complete(stream=True, max_tokens=20, min_tokens=3, user="me")
        await pair.ends()
    assert answer.status_code == 200
    body = sent(pair.prefill)
    assert body.pop("kv_transfer_params") == CALL | {"new": {"er": [1.5, None]}}
    limits = {"max_tokens": 1, "min_tokens": 1}
    assert body == {"model": "sim", "prompt": "Once upon a time", **limits, "stream": False, "user": "me"}
    (prefill,), (decode,) = pair.prefill.requests, pair.decode.requests
    assert prefill.header("x-request-id") == decode.header("x-request-id")
    assert prefill.line == decode.line
    assert calls.statuses == [200]


async def test_a_call_is_answered_before_the_prefill_is_done() -> None:
    calls = Calls()
    async with decode_first(calls.script, stalls) as pair, asyncio.TaskGroup() as clients:
        client = clients.create_task(pair.served.complete())
        await eventually(lambda: calls.statuses == [200] and len(pair.prefill.requests) == 1)
        calls.may_decode.set()
        assert (await client).status_code == 200


async def test_a_request_is_told_of_as_it_comes_on() -> None:
    calls = Calls(then=streams)
    async with decode_first(calls.script) as pair, asyncio.TaskGroup() as clients:
        client = clients.create_task(pair.served.complete(stream=True))
        await eventually(lambda: pair.pool.words() == ["decode_waits", "dispatched", "prefill_done"])
        calls.may_decode.set()
        await client
        await pair.ends()
    assert pair.pool.words() == ["decode_waits", "dispatched", "prefill_done", "first_token", "released"]
    assert not pair.pool.rebound_avoiding


async def test_a_call_that_is_made_again_is_answered_as_well_and_begins_no_other_prefill() -> None:
    calls = Calls(CALL, CALL, CALL | {"request_id": "cmpl-pdreq-1"})
    calls.may_decode.set()
    async with decode_first(calls.script) as pair:
        assert (await pair.served.complete()).status_code == 200
        await pair.ends()
        assert await pair.heard() == {"taken": 1, "again": 1, "other_child": 1}
    assert calls.statuses == [200, 200, 404]
    assert pair.names() == ["P", "D"]


async def test_a_call_after_the_end_of_its_request_is_for_nobody() -> None:
    calls = Calls()
    calls.may_decode.set()
    async with decode_first(calls.script) as pair:
        await pair.served.complete()
        await pair.ends()
        assert await call(calls.urls[0]) == 404
        assert await call(calls.urls[0][:-1] + "=") == 404
        assert await call(pair.served.url + PATH) == 404
        assert await pair.heard() == {"taken": 1, "unknown": 3}
        assert (await pair.served.client.get(calls.urls[0])).status_code == 405
    assert pair.names() == ["P", "D"]


MALFORMED: dict[str, Any] = {
    "no JSON": b"[" * 100_000,
    "no object": [CALL],
    "no child": {name: value for name, value in CALL.items() if name != "request_id"},
    "no count of cached tokens": {name: value for name, value in CALL.items() if name != "remote_cached_tokens"},
    "a block that is none": CALL | {"remote_block_ids": [[-1]]},
    "no blocks": CALL | {"remote_block_ids": []},
    "a host of several lines": CALL | {"remote_host": "a\nb"},
    "a port that is none": CALL | {"remote_port": 70_000},
    "a prompt of its own": CALL | {"prompt_token_ids": [1, 2]},
    "no wish for a prefill": CALL | {"do_remote_decode": False},
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=list(MALFORMED))
async def test_what_a_prefill_rank_would_not_survive_is_refused_and_a_right_call_may_follow(body: Any) -> None:
    calls = Calls(body, CALL)
    calls.may_decode.set()
    async with decode_first(calls.script) as pair:
        assert (await pair.served.complete()).status_code == 200
        await pair.ends()
        assert await pair.heard() == {"malformed": 1, "taken": 1}
    assert calls.statuses == [400, 200]


async def test_no_more_of_a_call_is_taken_than_calls_have() -> None:
    calls = Calls(CALL | {"token_ids": [7] * 500_000}, CALL)
    calls.may_decode.set()
    async with decode_first(calls.script) as pair:
        assert (await pair.served.complete()).status_code == 200
    assert calls.statuses == [413, 200]


async def test_nothing_of_a_call_is_read_that_is_for_nobody() -> None:
    async with decode_first(completes) as pair:
        raw = post(f"{PATH}{LIFE}.{'x' * 32}", b"").replace(b"Content-Length: 0", b"Content-Length: 999999999")
        status, _, _ = await pair.served.send(raw)
    assert status == 404


async def test_a_usage_says_what_the_prefill_rank_had_cached() -> None:
    usage = {"prompt_tokens": 66, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 64}}
    told = {"prompt_tokens": 66, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 65}}

    async def decodes(exchange: Exchange) -> None:
        body = json.dumps({"choices": [{"index": 0, "text": "hi", "finish_reason": "length"}], "usage": told}).encode()
        await exchange.answer("200 OK", body, "content-type: application/json")

    async def prefills(exchange: Exchange) -> None:
        await exchange.answer("200 OK", prefill_answer(None, usage=usage), "content-type: application/json")

    calls = Calls(then=decodes)
    async with decode_first(calls.script, prefills) as pair, asyncio.TaskGroup() as clients:
        client = clients.create_task(pair.served.complete())
        await eventually(lambda: "prefill_done" in pair.pool.words())
        calls.may_decode.set()
        assert (await client).json()["usage"]["prompt_tokens_details"] == {"cached_tokens": 64}


async def test_a_response_is_served_by_the_decode_rank_alone_for_its_name_is_not_the_same_on_both() -> None:
    async with decode_first(completes) as pair:
        await pair.served.client.post("/v1/responses", json={"model": "sim", "input": "Once", "store": False})
        await pair.ends()
    assert pair.names() == ["D"]
    assert not pair.pool.asked[0].pairable
    assert "kv_transfer_params" not in sent(pair.decode)


async def test_a_gateway_that_ends_listens_until_all_calls_that_it_awaits_have_come() -> None:
    calls = Calls()
    async with decode_first(stalls) as pair:
        metaserver = pair.served.gateway.metaserver
        async with asyncio.TaskGroup() as tasks:
            client = tasks.create_task(pair.served.complete())
            await eventually(lambda: len(pair.decode.requests) == 1)
            closing = tasks.create_task(metaserver.close())
            await eventually(lambda: not metaserver.is_open)
            pair.decode.script = calls.script
            whole = await pair.served.complete()
            assert "kv_transfer_params" not in sent(pair.decode)
            assert not closing.done()
            assert await call(sent(pair.decode, 0)["kv_transfer_params"]["metaserver"]) == 200
            await closing
            client.cancel()
        await pair.ends()
    assert whole.status_code == 200


@pytest.mark.parametrize(("host", "warns"), [("10.0.0.9", True), ("127.0.0.1", False)])
async def test_an_address_that_decode_ranks_cannot_call_is_told_once(
    host: str, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with decode_first(completes) as pair:
        for _ in range(2):
            pair.served.gateway.metaserver.warn_of_address(card(f"http://{host}:8000", role=Role.DECODE))
    told = [record for record in caplog.records if "--advertise" in record.getMessage()]
    assert len(told) == warns


async def test_a_loopback_host_of_a_decode_rank_elsewhere_is_replaced() -> None:
    connector = MooncakeLayerwise()
    asked = connector.call(json.dumps(CALL).encode())
    prefill, decode = card("http://10.0.0.1:8000", role=Role.PREFILL), card("http://10.0.0.2:8000", role=Role.DECODE)
    assert json.loads(bytes(connector.prefill_params(asked, prefill, decode))) == CALL | {"remote_host": "10.0.0.2"}
    assert json.loads(bytes(connector.prefill_params(asked, decode, decode))) == CALL


async def test_the_client_learns_nothing_of_the_url() -> None:
    async def tells(exchange: Exchange) -> None:
        told = sent_params(exchange)
        body = json.dumps({"choices": [{"index": 0, "text": "hi"}], "kv_transfer_params": told}).encode()
        await exchange.answer("200 OK", body, "content-type: application/json")

    calls = Calls(then=tells)
    calls.may_decode.set()
    async with decode_first(calls.script) as pair:
        answer = await pair.served.complete()
    assert answer.json()["choices"][0]["text"] == "hi"
    assert PATH not in answer.text


def sent_params(exchange: Exchange) -> Any:
    return json.loads(exchange.request.body)["kv_transfer_params"]


async def test_a_token_is_not_written_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    calls = Calls(CALL, CALL)
    calls.may_decode.set()
    async with decode_first(calls.script) as pair:
        await pair.served.complete()
        await pair.ends()
    token = calls.urls[0].rpartition("/")[2]
    own = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert own
    assert not [line for line in own if token in line]


@pytest.mark.parametrize(
    ("path", "body", "asked"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}, {"max_tokens": 1, "min_tokens": 1}),
        ("/inference/v1/generate", {"token_ids": [1, 2], "sampling_params": {"max_tokens": 9, "min_tokens": 2}}, {}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "a"}], "max_tokens": 9}, {"max_tokens": 1}),
    ],
)
async def test_a_prefill_of_any_api_is_one_of_a_single_token(
    path: str, body: dict[str, Any], asked: dict[str, int]
) -> None:
    calls = Calls()
    async with decode_first(calls.script) as pair, asyncio.TaskGroup() as clients:
        client = clients.create_task(pair.served.client.post(path, json={"model": "sim", **body}))
        await eventually(lambda: len(pair.prefill.requests) == 1)
        calls.may_decode.set()
        await client
        await pair.ends()
    told = sent(pair.prefill)
    assert {name: told.get(name) for name in ("max_tokens", "min_tokens") if name in told} == asked
    if "sampling_params" in body:
        assert told["sampling_params"] == {"max_tokens": 1, "min_tokens": 1}
    assert pair.prefill.requests[0].line == pair.decode.requests[0].line
