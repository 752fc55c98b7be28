"""What becomes of a request that one rank serves whole when that fails: another rank, while its client has nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import Served, checked_error, eventually, nothing_is_held, serving
from tests.gateway.scripted_pair import answers
from tests.gateway.scripted_rank import (
    COMPLETION,
    EVENTS,
    STREAM_HEAD,
    Exchange,
    Script,
    breaks_off,
    chunk,
    dies_in_its_answer,
    scripted_rank,
    stalls,
    streaming,
)
from tests.gateway.scripted_ranks import answers_well, scripted_ranks

ERROR = b'{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}'
STREAM = b"".join(EVENTS)


def says(*parts: bytes) -> Script:
    """Sends these bytes and breaks the connection off."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(*parts)
        exchange.abort()

    return script


def says_and_closes(*parts: bytes) -> Script:
    """The same, and closes it in order."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(*parts)
        exchange.close()

    return script


JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
FAILURES: dict[str, Script] = {
    **{f"{status}": answers(ERROR, f"{status} Oh no") for status in (500, 502, 503, 504)},
    "an error without a body": answers(b"", "503 Service Unavailable"),
    "broken off": breaks_off,
    "broken off in its head": says(b"HTTP/1.1 200 OK\r\ncontent-ty"),
    "no status line": says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "a bad header": says(JSON_HEAD + b"x y\r\n\r\n{}"),
    "two lengths": says(JSON_HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n"),
    "silent": stalls,
}
BAD_ANSWERS: dict[str, Script] = {
    "broken off inside": dies_in_its_answer,
    "no JSON": answers(b"<html>"),
    "empty": answers(b""),
    "empty and of no type": says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    "ends early": says_and_closes(JSON_HEAD + b"\r\n" + COMPLETION[:-1]),
    "ends early and is large": says_and_closes(JSON_HEAD + b'\r\n{"choices":"' + b"x" * 2_000_000),
    "a bad chunk size": says(JSON_HEAD + b"transfer-encoding: chunked\r\n\r\nxyz\r\n"),
    "an error in a 200": answers(ERROR),
}
BAD_STREAMS: dict[str, Script] = {
    "nothing but its head": says(STREAM_HEAD),
    "no events": streaming(),
    "its end": streaming(b"data: [DONE]\n\n"),
    "an error": streaming(b"data: " + ERROR + b"\n\n", b"data: [DONE]\n\n"),
    "an event that is no JSON": streaming(b"data: <html>\n\n", b"data: [DONE]\n\n"),
    "half an event": says(STREAM_HEAD, chunk(EVENTS[0][:30])),
    "half an event and the end": streaming(EVENTS[0][:30]),
    "a bad chunk size": says(STREAM_HEAD, b"xyz\r\n"),
    "no stream": answers(b"<html>"),
}


@pytest.mark.parametrize(
    ("stream", "name"),
    [(stream, name) for stream in (False, True) for name in FAILURES]
    + [(False, name) for name in BAD_ANSWERS]
    + [(True, name) for name in BAD_STREAMS],
)
async def test_a_request_is_answered_though_its_first_rank_fails(stream: bool, name: str) -> None:
    script = (FAILURES | (BAD_STREAMS if stream else BAD_ANSWERS))[name]
    # Long enough for the second rank to be in time on a busy machine.
    async with scripted_ranks(script, first_byte_ms=2_000 if name == "silent" else 300_000) as ranks:
        response = await ranks.served.complete(stream=stream)
        page = (await ranks.served.client.get("/metrics")).text
        await eventually(ranks.nothing_is_held)
    assert (response.status_code, response.content) == (200, STREAM if stream else COMPLETION)
    assert ranks.names() == "AB"
    assert ranks.pool.avoided == [frozenset(), {"A"}]
    assert ranks.first.requests[0].body == ranks.second.requests[0].body
    assert ranks.first.requests[0].header("x-request-id") != ranks.second.requests[0].header("x-request-id")
    reason = "silent" if name == "silent" else "rank_failed"
    assert f'forebay_gateway_retries_total{{pool="sim",reason="{reason}"}} 1.0' in page
    assert ranks.pool.releases() == {1: 1, 2: 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_rank_that_takes_no_connection_is_shunned_and_another_asked(stream: bool) -> None:
    async with scripted_ranks() as ranks:
        ranks.replace("A", card("http://127.0.0.1:9", rank="A"))
        response = await ranks.served.complete(stream=stream)
    assert response.content == (STREAM if stream else COMPLETION)
    assert (ranks.names(), ranks.pool.shunned) == ("B", ["A"])


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/score", "/tokenize", "/invocations"])
async def test_it_is_so_on_every_route_whose_requests_are_read_whole(path: str) -> None:
    async with scripted_ranks(breaks_off, answers(ERROR, "503 Busy")) as ranks:
        response = await ranks.served.client.post(path, json={"model": "sim", "input": "x", "messages": []})
    assert response.status_code == 200
    assert ranks.names() == "ABC"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "429 Busy", "501 Not Implemented"])
async def test_what_a_rank_refuses_is_never_tried_elsewhere(stream: bool, status: str) -> None:
    async with scripted_ranks(answers(ERROR, status)) as ranks:
        response = await ranks.served.complete(stream=stream)
    assert (f"{response.status_code}", response.content) == (status[:3], ERROR)
    assert ranks.names() == "A"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_every_rank_fails_of_costs_three_placements_and_gets_the_last_ones_words(
    stream: bool,
) -> None:
    last = answers(b'{"error":{"message":"third"}}', "503 Service Unavailable")
    async with scripted_ranks(answers(ERROR, "500 Oh no"), answers(ERROR, "500 Oh no"), last) as ranks:
        response = await ranks.served.complete(stream=stream)
        await eventually(ranks.nothing_is_held)
    assert (response.status_code, response.content) == (503, b'{"error":{"message":"third"}}')
    assert ranks.names() == "ABC"
    assert ranks.pool.avoided == [frozenset(), {"A"}, {"A", "B"}]
    assert ranks.pool.releases() == {1: 1, 2: 1, 3: 1}
    assert ranks.pool.moved[0] == 1  # the second wait may be too long for that


async def test_a_stream_that_every_rank_begins_with_an_error_gets_the_last_ones_events() -> None:
    script = streaming(b"data: " + ERROR + b"\n\n", b"data: [DONE]\n\n")
    async with scripted_ranks(script, script, script) as ranks:
        response = await ranks.served.complete(stream=True)
    assert response.content == b"data: " + ERROR + b"\n\ndata: [DONE]\n\n"
    assert ranks.names() == "ABC"


async def test_a_stream_that_has_begun_is_not_tried_anew() -> None:
    async with scripted_ranks(says(STREAM_HEAD, chunk(EVENTS[0]))) as ranks:
        response = await ranks.served.complete(stream=True)
    assert response.content.startswith(EVENTS[0])
    assert b'"code":502' in response.content
    assert b"[DONE]" not in response.content
    assert ranks.names() == "A"


@pytest.mark.parametrize(
    ("script", "told"),
    [(answers(ERROR, "503 Busy"), (503, ERROR)), (breaks_off, (502, None)), (stalls, (504, None))],
)
async def test_where_there_were_too_many_retries_the_client_gets_the_error_it_was(
    script: Script, told: tuple[int, bytes | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.retry_budget.FLOOR", -1)
    async with scripted_ranks(script, first_byte_ms=500 if script is stalls else 300_000) as ranks:
        response = await ranks.served.complete(stream=True)
        page = (await ranks.served.client.get("/metrics")).text
        await eventually(ranks.nothing_is_held)
    assert response.status_code == told[0]
    if told[1] is None:
        checked_error(response.status_code, response.content)
    else:
        assert response.content == told[1]
    assert ranks.names() == "A"
    assert 'forebay_gateway_retries_refused_total{pool="sim",reason=' in page
    assert ranks.pool.releases() == {1: 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_the_only_rank_is_asked_once_if_it_is_silent_for_too_long(stream: bool) -> None:
    async with scripted_rank(stalls) as rank, one_rank(rank.url, first_byte_ms=200) as (served, pool):
        response = await served.complete(stream=stream)
        await eventually(lambda: nothing_is_held(served, pool))
    assert response.status_code == 504
    assert "did not answer within 0.2 s" in checked_error(504, response.content)["message"]
    assert len(rank.requests) == 1
    assert pool.releases() == {1: 1, 2: 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_the_only_rank_is_asked_again_if_it_breaks_off(stream: bool) -> None:
    async def breaks_off_once(exchange: Exchange) -> None:
        await (answers_well if len(rank.requests) > 1 else breaks_off)(exchange)

    async with scripted_rank(breaks_off_once) as rank, one_rank(rank.url) as (served, _):
        response = await served.complete(stream=stream)
    assert response.content == (STREAM if stream else COMPLETION)
    assert len(rank.requests) == 2


@asynccontextmanager
async def one_rank(url: str, **options: Any) -> AsyncIterator[tuple[Served, FakePool]]:
    """A gateway with one rank."""
    pool = FakePool(card(url))
    async with serving(FakePools(pool), **options) as served:
        yield served, pool
