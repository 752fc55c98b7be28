"""Pairs whose legs start at once: who is ended when the other fails, what is tried anew, and what a client sees."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.connectors.mooncake import Mooncake
from gateway.connectors.nixl_push import NixlPush
from scheduler.messages import Role
from tests.gateway.fake_pools import FakeRankView, card
from tests.gateway.running import COMPLETIONS, eventually, post
from tests.gateway.scripted_joint import ENDED, ended, prefilled, scripted_joint, stalls_at_first
from tests.gateway.scripted_pair import Pair, answers, breaks_off_after, sent, streams_on_after
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
    dies_in_its_answer,
    some_turns,
    stalls,
    streams,
)

CONNECTORS = ("nixl_push", "mooncake", "sglang")
REFUSAL = b'{"error":{"message":"too long","type":"BadRequestError","param":"input_tokens","code":400}}'
ERROR = b'{"error":{"message":"broken","type":"InternalServerError","param":null,"code":500}}'


@pytest.mark.parametrize("connector", CONNECTORS)
async def test_both_legs_are_there_before_either_answers_and_have_one_id(connector: str) -> None:
    both = asyncio.Event()

    async def waits_for_both(exchange: Exchange) -> None:
        await both.wait()
        await prefilled(exchange)

    async def decodes(exchange: Exchange) -> None:
        await eventually(lambda: bool(pair.prefill.requests))
        both.set()
        await exchange.answer("200 OK", COMPLETION, "content-type: application/json")

    async with scripted_joint(waits_for_both, decodes, connector=connector) as pair:
        response = await pair.served.complete(headers={"x-request-id": "the client's"})
    assert response.content == COMPLETION
    assert pair.names() == ["P", "D"]
    first, second = pair.prefill.requests[0], pair.decode.requests[0]
    assert first.line == second.line
    assert first.header("x-request-id") == second.header("x-request-id") not in (None, "the client's")
    words = pair.pool.words()
    assert {"decode_waits", "dispatched"} == set(words[:2])
    assert words[-1] == "released"


BAD_PREFILLS: dict[str, Script] = {
    "500": answers(b"{}", "500 Internal Server Error"),
    "302": answers(b"{}", "302 Found"),
    "broken off": breaks_off,
    "broken off inside": dies_in_its_answer,
    "silent": stalls,
    "no JSON": answers(b"<html>"),
    "an error": answers(ERROR),
    "aborted": ended(choices=[{"index": 0, "text": "", "finish_reason": "abort"}]),
    "no end": ended(choices=[]),
    "no usage that can be": ended(usage={"prompt_tokens": -1}),
}


@pytest.mark.parametrize("name", BAD_PREFILLS)
async def test_a_prefill_that_fails_ends_the_decode_leg_and_another_pair_is_tried(name: str) -> None:
    prefill_ms = 1_000 if name == "silent" else 300_000
    async with scripted_joint(BAD_PREFILLS[name], stalls_at_first(), prefill_ms=prefill_ms) as pair:
        response = await pair.served.complete()
        # The second one is kept for whoever comes next.
        await eventually(lambda: pair.nothing_is_held() and pair.decode.open_connections <= 1)
    assert response.content == COMPLETION
    assert pair.names() == ["P", "P2", "D", "D"]
    assert pair.retried() == [{"P"}]
    params = [sent(pair.decode, number)["kv_transfer_params"] for number in range(2)]
    assert params[0]["transfer_id"] != params[1]["transfer_id"]
    assert pair.decode.requests[0].header("x-request-id") != pair.decode.requests[1].header("x-request-id")
    assert set(pair.pool.releases().values()) == {1}


async def decodes_alone(exchange: Exchange) -> None:
    waits = b"kv_transfer_params" in exchange.request.body
    await (stalls if waits else completes)(exchange)


async def test_after_two_prefills_that_failed_the_decode_rank_serves_alone() -> None:
    async with scripted_joint(breaks_off, decodes_alone) as pair:
        pair.prefill2.script = breaks_off
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert [shape.pairable for shape in pair.pool.asked] == [True, True, False]


async def test_a_decode_rank_that_cannot_serve_alone_is_never_asked_to() -> None:
    async with scripted_joint(breaks_off, stalls, connector="sglang") as pair:
        pair.prefill2.script = breaks_off
        response = await pair.served.complete()
    assert response.status_code == 502
    assert [shape.pairable for shape in pair.pool.asked] == [True, True, True]


async def test_a_prefill_rank_that_takes_no_connection_is_shunned_and_the_decode_leg_ended() -> None:
    async with scripted_joint(decode=stalls_at_first()) as pair:
        nowhere = msgspec.structs.replace(pair.pool.view.ranks["P"].card, endpoint="http://127.0.0.1:9")
        pair.pool.view.ranks["P"] = FakeRankView(nowhere)  # type: ignore[index]
        response = await pair.served.complete()
        await eventually(pair.nothing_is_held)
    assert response.content == COMPLETION
    assert pair.pool.shunned == ["P"]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_prefill_rank_refuses_reaches_the_client_and_ends_the_decode_leg(stream: bool) -> None:
    async with scripted_joint(answers(REFUSAL, "400 Bad Request"), stalls) as pair:
        response = await pair.served.complete(stream=stream)
        await eventually(lambda: pair.nothing_is_held() and pair.decode.open_connections == 0)
    assert (response.status_code, response.content) == (400, REFUSAL)
    assert pair.retried() == []


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_decode_rank_refuses_reaches_the_client_and_ends_the_prefill(stream: bool) -> None:
    async with scripted_joint(stalls, answers(REFUSAL, "400 Bad Request")) as pair:
        response = await pair.served.complete(stream=stream)
        await eventually(lambda: pair.nothing_is_held() and pair.prefill.open_connections == 0)
    assert (response.status_code, response.content) == (400, REFUSAL)
    assert pair.retried() == []


@pytest.mark.parametrize("decode", [answers(ERROR, "500 Internal Server Error"), breaks_off])
async def test_a_decode_leg_that_fails_ends_the_prefill_and_takes_a_whole_new_pair(decode: Script) -> None:
    async with scripted_joint(stalls, decode) as pair:
        response = await pair.served.complete()
        await eventually(lambda: pair.nothing_is_held() and pair.prefill.open_connections == 0)
    assert response.content == COMPLETION
    assert pair.names() == ["P", "P2", "D", "D2"]
    assert pair.retried() == [{"P", "D"}]


async def test_a_prefill_that_fails_once_the_answer_has_begun_harms_nobody() -> None:
    begun = asyncio.Event()
    goes_on = streams_on_after(lambda: ("P", False) in pair.pool.heard_of)
    body = {"model": "sim", "prompt": "x", "stream": True}
    async with (
        scripted_joint(breaks_off_after(begun), goes_on) as pair,
        pair.served.client.stream("POST", COMPLETIONS, json=body) as response,
    ):
        parts = response.aiter_bytes()
        answer = await anext(parts)
        begun.set()
        answer += b"".join([part async for part in parts])
    assert answer == b"".join(EVENTS)
    assert pair.retried() == []


@pytest.mark.parametrize("turns", range(12))
async def test_an_answer_that_begins_as_its_prefill_fails_is_whole(turns: int) -> None:
    """All run in one event loop, so that it takes as many turns from the one to the other on any machine."""
    prefills: list[Exchange] = []

    async def is_broken_off(exchange: Exchange) -> None:
        prefills.append(exchange)
        await exchange.until_closed()

    async def begins(exchange: Exchange) -> None:
        if pair.pool.avoided[1:]:
            await streams(exchange)
            return
        await eventually(lambda: bool(prefills))
        prefills[0].abort()
        await some_turns(turns)
        await exchange.send(STREAM_HEAD + chunk(EVENTS[0]))
        await some_turns(20)
        await exchange.send(*map(chunk, EVENTS[1:]), NO_MORE)

    async with scripted_joint(is_broken_off, begins) as pair:
        response = await pair.served.complete(stream=True)
        await eventually(pair.nothing_is_held)
    assert response.content == b"".join(EVENTS)


async def leaves_when(pair: Pair, holds: Callable[[], object]) -> None:
    """Ask, and hang up once something holds."""
    _, writer = await asyncio.open_connection("127.0.0.1", pair.served.port)
    writer.write(post(COMPLETIONS, b'{"model":"sim","prompt":"Once","stream":true}'))
    await eventually(lambda: bool(holds()))
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("connector", ["nixl_push", "mooncake"])
async def test_where_only_kv_frees_the_decode_rank_the_prefill_is_let_end_though_its_client_leaves(
    connector: str,
) -> None:
    left = asyncio.Event()

    async def prefills_late(exchange: Exchange) -> None:
        await left.wait()
        await prefilled(exchange)

    async with scripted_joint(prefills_late, stalls, connector=connector) as pair:
        await leaves_when(pair, lambda: pair.prefill.requests and pair.decode.requests)
        await eventually(lambda: not pair.pool.live and pair.decode.open_connections == 0)
        assert (pair.prefill.open_connections, pair.served.gateway.alive) == (1, 1)
        left.set()
        await eventually(pair.nothing_is_held)
        assert ("P", True) in pair.pool.heard_of
    assert pair.pool.words()[-1] == "released"
    assert pair.names() == ["P", "D"]


async def test_where_the_decode_rank_was_not_reached_the_prefill_ends_with_its_client() -> None:
    async with scripted_joint(stalls, connector="mooncake", connect_ms=60_000) as pair:
        # It takes the connection and says nothing of TLS.
        deaf = msgspec.structs.replace(
            pair.pool.view.ranks["D"].card, endpoint=pair.decode.url.replace("http://", "https://")
        )
        pair.pool.view.ranks["D"] = FakeRankView(deaf)  # type: ignore[index]
        await leaves_when(pair, lambda: pair.prefill.requests)
        await eventually(lambda: pair.nothing_is_held() and pair.prefill.open_connections == 0)


@pytest.mark.parametrize("prefill", [stalls, prefilled])
async def test_a_client_that_leaves_ends_both_legs(prefill: Script) -> None:
    async with scripted_joint(prefill, stalls, connector="sglang") as pair:
        await leaves_when(pair, lambda: pair.prefill.requests and pair.decode.requests)
        await eventually(lambda: pair.nothing_is_held() and pair.decode.open_connections == 0)
        if prefill is stalls:  # else its connection is kept for whoever comes next
            await eventually(lambda: pair.prefill.open_connections == 0)
    assert set(pair.pool.releases().values()) == {1}


async def test_a_prefill_whose_decode_rank_was_never_reached_is_freed_by_another() -> None:
    async with scripted_joint(connector="mooncake", connect_ms=1_000) as pair:
        # It takes the connection and says nothing of TLS.
        deaf = msgspec.structs.replace(
            pair.pool.view.ranks["D"].card, endpoint=pair.decode.url.replace("http://", "https://")
        )
        pair.pool.view.ranks["D"] = FakeRankView(deaf)  # type: ignore[index]

        async def refuses_what_frees(exchange: Exchange) -> None:
            frees = b"forebay-frees" in exchange.request.body
            await exchange.answer("404 Not Found" if frees else "200 OK", COMPLETION, "content-type: application/json")

        pair.decode2.script = refuses_what_frees
        await pair.served.complete()
        await eventually(lambda: any(b"forebay-frees" in request.body for request in pair.decode2.requests))
        await eventually(pair.nothing_is_held)
        freeing = next(json.loads(each.body) for each in pair.decode2.requests if b"forebay-frees" in each.body)
    assert freeing["kv_transfer_params"]["transfer_id"] == sent(pair.prefill, 0)["kv_transfer_params"]["transfer_id"]


async def test_a_stream_that_does_not_begin_while_its_kv_is_held_takes_a_new_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(NixlPush, "begins_within_s", 1.0)
    async with scripted_joint(decode=stalls, connector="nixl_push") as pair:
        pair.decode2.script = streams
        response = await pair.served.complete(stream=True)
        await eventually(pair.nothing_is_held)
    assert response.status_code == 200
    assert pair.names() == ["P", "P2", "D", "D2"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_decode_rank_that_waits_for_a_life_that_is_over_is_not_waited_for(stream: bool) -> None:
    async with scripted_joint(decode=stalls_at_first(streams if stream else completes)) as pair:

        async def begin_another_life() -> None:
            await eventually(lambda: "prefill_done" in pair.pool.words())
            other = msgspec.structs.replace(pair.pool.view.ranks["P"].card, incarnation="2")
            pair.pool.view.ranks["P"] = FakeRankView(other)  # type: ignore[index]

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(begin_another_life())
            response = await pair.served.complete(stream=stream)
        await eventually(pair.nothing_is_held)
    assert response.status_code == 200
    assert len(pair.pool.asked) == 2


async def test_a_prefill_that_shows_another_engine_than_the_decode_rank_was_sent_to_is_no_prefill() -> None:
    params = {"remote_engine_id": "e-2", "do_remote_prefill": True}
    async with scripted_joint(ended(kv_transfer_params=params), stalls_at_first(), connector="nixl_push") as pair:
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert pair.retried() == [{"P"}]


async def test_a_prefill_rank_of_which_too_little_is_known_is_done_without() -> None:
    async with scripted_joint() as pair:
        bare = card(pair.prefill.url, rank="P", role=Role.PREFILL, connector="mooncake")
        pair.pool.view.ranks["P"] = FakeRankView(bare)  # type: ignore[index]
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert pair.names() == ["D"]


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        (
            "/v1/messages",
            {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9},
            {"stop_reason": "end_turn"},
        ),
        ("/v1/responses", {"input": "x", "store": False}, {"status": "completed"}),
    ],
)
async def test_a_prefill_that_ended_before_its_limit_sends_nothing(
    path: str, body: dict[str, Any], answer: dict[str, Any]
) -> None:
    """Where no `min_tokens` can be asked for."""
    assert Mooncake.needs_length
    async with scripted_joint(ended(**answer), stalls_at_first()) as pair:
        await pair.served.client.post(path, json={"model": "sim", **body})
        await eventually(pair.nothing_is_held)
    assert pair.retried()[0] == {"P"}


async def test_the_answer_shows_what_the_prefill_rank_had_cached_if_it_has_said_so_by_then() -> None:
    usage = {"prompt_tokens": 66, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 66}}
    told = json.dumps(ENDED | {"usage": usage}).encode()

    async def decodes(exchange: Exchange) -> None:
        await eventually(lambda: "prefill_done" in pair.pool.words())
        await exchange.answer("200 OK", told, "content-type: application/json")

    async with scripted_joint(decode=decodes) as pair:
        response = await pair.served.complete()
    assert response.json()["usage"]["prompt_tokens_details"] == {"cached_tokens": 32}
