"""What a client is told when a rank refuses, dies or answers what it may not."""

import asyncio

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import error_of, eventually, serving
from tests.gateway.scripted_rank import (
    ABORTED_EVENT,
    COMPLETION,
    EVENTS,
    NO_MORE,
    STREAM_HEAD,
    USAGE_EVENT,
    Exchange,
    chunk,
    completes,
    scripted_rank,
)
from tests.sse import event_of


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_of_the_rank_reaches_the_client_unchanged(stream: bool) -> None:
    body = b'{"error":{"message":"too long","type":"BadRequestError","param":"input_tokens","code":400}}'

    async def refuses(exchange: Exchange) -> None:
        await exchange.answer("400 Bad Request", body, "content-type: application/json", "x-why: length")

    async with scripted_rank(refuses) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=stream)
    assert (response.status_code, response.content) == (400, body)
    assert response.headers["x-why"] == "length"
    assert pool.words() == ["dispatched", "released"]


async def test_a_rank_that_takes_no_connection_is_a_502() -> None:
    pool = FakePool(card("http://127.0.0.1:9"))
    async with serving(FakePools(pool)) as served:
        response = await served.complete()
    assert error_of(response)["type"] == "Bad Gateway"
    assert response.status_code == 502
    assert pool.words() == ["released"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://xn--a:80", "http://a..b:80", f"http://{'a' * 64}.b:80", "http://\u00ad:80", "http://[::1:80",
        "http://a:99999", "ftp://127.0.0.1:9", "127.0.0.1:9", "http://",
    ],
)  # fmt: skip
async def test_an_address_that_is_none_is_a_502_and_shunned(endpoint: str) -> None:
    pool = FakePool(card(endpoint, rank="odd"))
    async with serving(FakePools(pool)) as served:
        response = await served.complete()
    assert response.status_code == 502
    error_of(response)
    assert set(pool.shunned) == {"odd"}
    assert pool.words() == ["released"]


@pytest.mark.parametrize("headers", [["X: y"] * 101, [f"X-{number}: {'y' * 7000}" for number in range(10)]])
async def test_a_head_larger_than_a_clients_may_be_is_a_502(headers: list[str]) -> None:
    async def answers(exchange: Exchange) -> None:
        await exchange.answer("200 OK", COMPLETION, *headers)

    async with scripted_rank(answers) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.complete()
    assert response.status_code == 502
    assert "head" in error_of(response)["message"]
    assert pool.words()[-1] == "released"


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
    assert event_of(last)["error"]["code"] == 502
    assert "[DONE]" not in response.text
    assert response.text.count("\n\n") == 2
    assert pool.words() == ["dispatched", "first_token", "released"]


@pytest.mark.parametrize("said", [b"", EVENTS[0]])
async def test_a_stream_that_a_rank_aborts_by_itself_ends_with_an_error(said: bytes) -> None:
    async def is_told_to_stop(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, *map(chunk, filter(None, (said, ABORTED_EVENT, EVENTS[-1]))), NO_MORE)

    async with scripted_rank(is_told_to_stop) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=True)
    assert response.content.startswith(said)
    assert b"aborted the request" in response.content
    assert b"[DONE]" not in response.content


async def test_a_whole_answer_that_a_rank_aborted_by_itself_is_a_502() -> None:
    async def is_told_to_stop(exchange: Exchange) -> None:
        body = b'{"choices":[{"index":0,"text":"half","finish_reason":"abort"}]}'
        await exchange.answer("200 OK", body, "content-type: application/json")

    async with scripted_rank(is_told_to_stop) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete()
    assert error_of(response)["code"] == 502


@pytest.mark.parametrize("events", [(), (b": keep-alive\n\n",), (USAGE_EVENT, EVENTS[-1]), EVENTS[-1:]])
async def test_a_stream_that_ends_before_it_has_begun_ends_with_an_error(events: tuple[bytes, ...]) -> None:
    async def ends(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, *map(chunk, events), NO_MORE)

    async with scripted_rank(ends) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=True)
    assert b"before it had begun" in response.content
    assert b"[DONE]" not in response.content
    assert pool.words() == ["dispatched", "released"]


async def test_an_error_event_of_the_rank_reaches_the_client_as_it_is() -> None:
    error = b'data: {"error":{"message":"Internal server error","type":"InternalServerError","code":500}}\n\n'

    async def fails(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(error), chunk(EVENTS[-1]), NO_MORE)

    async with scripted_rank(fails) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=True)
    assert response.content == error + EVENTS[-1]


POISON = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nPOISON"


async def test_an_answer_with_more_behind_its_end_is_a_502_and_the_rest_reaches_nobody() -> None:
    async def poisons(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(COMPLETION) + COMPLETION + POISON)

    async with scripted_rank(poisons) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        answers = [await served.complete() for _ in range(3)]
    assert [error_of(answer)["code"] for answer in answers] == [502] * 3
    assert not any(b"POISON" in answer.content for answer in answers)


async def test_what_a_rank_sends_after_its_answer_reaches_nobody() -> None:
    answered = asyncio.Event()

    async def poisons(exchange: Exchange) -> None:
        await completes(exchange)
        await answered.wait()
        await exchange.send(POISON)

    async with scripted_rank(poisons) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        for _ in range(3):
            assert (await served.complete()).content == COMPLETION
            answered.set()
            await eventually(lambda: rank.open_connections == 0)
            answered.clear()


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


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("value", [b"a\x01b", b"\x7f", b"a\x08"])
async def test_a_header_that_http_does_not_allow_is_a_failure_of_the_rank(
    value: bytes, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def odd(exchange: Exchange) -> None:
        kind = b"text/event-stream" if stream else b"application/json"
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n")
        await exchange.send(b"content-type: " + kind + b"\r\nx-odd: " + value + b"\r\n\r\n{}")

    async with scripted_rank(odd) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=stream)
    assert (response.status_code, error_of(response)["code"]) == (502, 502)
    assert pool.words() == ["dispatched", "released"]
    assert "Traceback" not in caplog.text


USAGES = {
    "huge": b'{"prompt_tokens":1' + b"0" * 400 + b',"completion_tokens":1}',
    "huge answers": b'{"prompt_tokens":1,"completion_tokens":1' + b"0" * 400 + b"}",
    "negative": b'{"prompt_tokens":-1,"completion_tokens":-5}',
    "fractions": b'{"prompt_tokens":1.5,"completion_tokens":1e300}',
    "no number": b'{"prompt_tokens":NaN}',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep beside": b'{"prompt_tokens":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", USAGES)
async def test_an_answer_with_an_absurd_usage_passes_and_nothing_is_learned(
    name: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    body = b'{"usage":' + USAGES[name] + b"}"

    async def answers(exchange: Exchange) -> None:
        if stream:
            events = (EVENTS[0], b"data: " + body + b"\n\n", EVENTS[-1])
            await exchange.send(STREAM_HEAD, *map(chunk, events), NO_MORE)
        else:
            await exchange.answer("200 OK", body, "content-type: application/json")

    async with scripted_rank(answers) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=stream, stream_options={"include_usage": stream})
        page = (await served.client.get("/metrics")).text
    assert response.status_code == 200
    assert body in response.content
    assert pool.words()[-1] == "released"
    assert "forebay_gateway_prompt_estimate_ratio_count{" not in page
    assert "Traceback" not in caplog.text
