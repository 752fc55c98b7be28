"""What becomes of a pair whose decode rank refuses or fails: a whole new pair, or the last error as it came."""

import pytest

from gateway.relay import EDITED_BYTES
from scheduler.messages import Role
from tests.gateway.fake_pools import card
from tests.gateway.running import eventually
from tests.gateway.scripted_pair import PARAMS, answers, prefill_answer, scripted_pair, sent
from tests.gateway.scripted_rank import (
    COMPLETION,
    EVENTS,
    STREAM_HEAD,
    Exchange,
    Script,
    breaks_off,
    chunk,
    completes,
    dies_in_its_answer,
    stalls,
    streaming,
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
    assert pair.retried() == [{"D", "P"}]
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
    assert pair.retried() == [{"P", "D"}, {"P", "D", "P2", "D2"}]
    assert set(pair.pool.releases().values()) == {1}


@pytest.mark.parametrize("stream", [False, True])
async def test_where_there_were_too_many_retries_the_decode_ranks_own_error_reaches_the_client(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.retry_budget.FLOOR", -1)
    body = b'{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}'
    async with scripted_pair(decode=answers(body, "500 Internal Server Error")) as pair:
        response = await pair.served.complete(stream=stream)
        await eventually(pair.nothing_is_held)
    assert (response.status_code, response.content) == (500, body)
    assert pair.names() == ["P", "D"]


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
    assert pair.retried() == [{"D"}]


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
        assert pair.retried() == [{"P", "D"}]
    else:
        assert pair.retried()[0] == {"D"}
        assert response.content == COMPLETION
        assert [shape.pairable for shape in pair.pool.asked] == [True, True, False]
        assert pair.pool.rebound_avoiding == [frozenset(), {"D"}]


async def test_an_answer_that_is_not_streamed_may_take_longer_than_its_kv_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The first token is taken for granted so long after the request was sent: when the deadline has passed.
    monkeypatch.setattr("gateway.pair.DECODE_BEGINS_S", 0.3)
    monkeypatch.setattr("gateway.connectors.nixl.Nixl.reach_within_s", 0.3)

    async def completes_late(exchange: Exchange) -> None:
        await eventually(lambda: "first_token" in pair.pool.words())
        await completes(exchange)

    async with scripted_pair(decode=completes_late) as pair:
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert pair.names() == ["P", "D"]


async def test_where_a_decode_rank_takes_no_connection_its_prefill_rank_is_not_avoided() -> None:
    async with scripted_pair() as pair:
        gone = card("http://127.0.0.1:9", rank="D", role=Role.DECODE)
        pair.pool.view.ranks["D"] = pair.pool.view.ranks["D"]._replace(card=gone)  # type: ignore[index]
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert pair.retried() == [{"D"}]
