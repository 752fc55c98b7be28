"""What becomes of a pair whose decode rank lost the KV or aborted: a new pair while nothing was said, else an error."""

import asyncio
import json
from typing import Any

import pytest

from tests.gateway.running import eventually
from tests.gateway.scripted_pair import RECOMPUTED, answers, scripted_pair
from tests.gateway.scripted_rank import (
    ABORTED_EVENT,
    COMPLETION,
    EVENTS,
    NO_MORE,
    STREAM_HEAD,
    Exchange,
    chunk,
    completes,
    streaming,
    streams,
)
from tests.sse import event_of

RECOMPUTED_EVENT = (
    b'data: {"choices":[{"index":0,"text":"","finish_reason":"stop","stop_reason":"recomputed","token_ids":null}]}\n\n'
)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_recomputed_answer_takes_a_whole_new_pair_and_no_prefill_rank_is_avoided(stream: bool) -> None:
    recomputed = streaming(RECOMPUTED_EVENT, b"data: [DONE]\n\n") if stream else answers(RECOMPUTED)
    async with scripted_pair(decode=recomputed) as pair:
        pair.decode2.script = streams if stream else completes
        response = await pair.served.complete(stream=stream)
        page = (await pair.served.client.get("/metrics")).text
    assert response.content == (b"".join(EVENTS) if stream else COMPLETION)
    assert pair.names() == ["P", "P", "D", "D2"]
    assert pair.retried() == [{"D"}]
    assert len({request.header("x-request-id") for request in pair.prefill.requests}) == 2
    assert 'reason="recomputed"} 1.0' in page


async def test_a_recomputed_answer_of_a_decode_rank_alone_is_tried_anew() -> None:
    async with scripted_pair(decode=answers(RECOMPUTED)) as pair:
        response = await pair.served.complete(n=2)
    assert response.content == COMPLETION
    assert pair.names() == ["D", "D2"]


async def ended_with(event: bytes) -> bytes:
    """What a client gets after the first event of a stream that its decode rank then ends with this one."""
    seen = asyncio.Event()

    async def ends(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]))
        await seen.wait()
        await exchange.send(chunk(event), chunk(EVENTS[-1]), NO_MORE)

    async with scripted_pair(decode=ends) as pair:
        body = {"model": "sim", "prompt": "x", "stream": True}
        async with pair.served.client.stream("POST", "/v1/completions", json=body) as response:
            parts = response.aiter_bytes()
            assert await anext(parts) == EVENTS[0]
            seen.set()
            rest = b"".join([part async for part in parts])
        await eventually(pair.nothing_is_held)
    return rest


async def test_a_stream_that_is_recomputed_ends_with_a_clear_error() -> None:
    error = event_of((await ended_with(RECOMPUTED_EVENT)).decode())["error"]
    assert error["code"] == 502
    assert "KV cache" in error["message"]


@pytest.mark.parametrize("stop", ["recomputed", ["x", "recomputed"], ["\\u0072ecomputed"]])
async def test_a_stop_string_of_the_clients_own_is_no_recomputation(stop: Any) -> None:
    async with scripted_pair(decode=answers(RECOMPUTED)) as pair:
        raw = json.dumps({"model": "sim", "prompt": "x", "stop": stop}).replace("\\\\", "\\")
        response = await pair.served.client.post(
            "/v1/completions", content=raw, headers={"content-type": "application/json"}
        )
    assert response.content == RECOMPUTED


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_decode_rank_aborts_before_it_has_said_anything_takes_a_new_pair(stream: bool) -> None:
    whole = b'{"choices":[{"index":0,"text":"hi","finish_reason":"abort"}]}'
    script = streaming(ABORTED_EVENT, b"data: [DONE]\n\n") if stream else answers(whole)
    async with scripted_pair(decode=script) as pair:
        pair.decode2.script = streams if stream else completes
        response = await pair.served.complete(stream=stream)
    assert response.content == (b"".join(EVENTS) if stream else COMPLETION)
    assert pair.retried()[0] >= {"D"}


async def test_a_stream_that_a_decode_rank_aborts_ends_with_an_error() -> None:
    error = event_of((await ended_with(ABORTED_EVENT)).decode())["error"]
    assert "aborted the request" in error["message"]
