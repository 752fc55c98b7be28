"""What counts for a key's limits, and for how much."""

import os
from collections.abc import AsyncIterator

import httpx
import pytest

from scheduler.decision import Reject
from scheduler.messages import Role
from tests.gateway.fake_pools import FakePool, FakePools, card, pools_of_nobody
from tests.gateway.form import FORM_TYPE, field, file, form
from tests.gateway.limited import eventually_used, limited, used
from tests.gateway.named_keys import bearing, named
from tests.gateway.receiving_rank import receiving_rank
from tests.gateway.running import COMPLETIONS, eventually, nothing_is_held
from tests.gateway.scripted_rank import Exchange, completes, scripted_rank, stalls
from tests.gateway.websocket_rank import connecting, sent, websocket_rank
from tests.polling import until

EVENTS = 400


async def streams_on(exchange: Exchange) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    event = b'data: {"choices":[{"index":0,"text":"a"}]}\n\n'
    await exchange.send(head, *[b"%x\r\n%b\r\n" % (len(event), event)] * EVENTS)
    await exchange.until_closed()


async def refuses(exchange: Exchange) -> None:
    await exchange.answer("400 Bad Request", b'{"error": {"message": "no"}}', "content-type: application/json")


async def test_what_we_fail_to_serve_costs_no_tokens() -> None:
    async with limited(pools_of_nobody(), named("team", tokens_per_minute=1_000)) as (served, store):
        assert (await served.complete(bearing("team"), max_tokens=500)).status_code == 502
        await eventually_used(store, 0)
    nowhere = FakePool(answer=Reject(reason="no rank"))
    async with limited(FakePools(nowhere), named("team", tokens_per_minute=1_000)) as (served, store):
        assert (await served.complete(bearing("team"), max_tokens=500)).status_code == 503
        await eventually_used(store, 0)


async def test_what_a_rank_refuses_costs_no_tokens_and_a_request() -> None:
    key = named("team", tokens_per_minute=1_000, requests_per_minute=5)
    async with scripted_rank(refuses) as rank, limited(FakePools(FakePool(card(rank.url))), key) as (served, store):
        assert (await served.complete(bearing("team"), max_tokens=500)).status_code == 400
        await eventually_used(store, 0)
        assert (await used(store, "team"))[0] == 1


async def test_tokenizing_is_a_request_of_no_tokens() -> None:
    key = named("team", tokens_per_minute=1, requests_per_minute=5)
    async with scripted_rank() as rank, limited(FakePools(FakePool(card(rank.url))), key) as (served, store):
        answer = await served.client.post("/tokenize", json={"model": "sim", "prompt": "x"}, headers=bearing("team"))
        assert answer.status_code == 200
        assert await used(store, "team") == [1, 0]


MESSAGES = [{"role": "user", "content": "hello"}]
BODIES: dict[str, dict[str, object]] = {
    "/v1/completions": {"prompt": "hello"},
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/responses": {"input": "hello"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 5},
    "/inference/v1/generate": {"token_ids": [1, 2], "sampling_params": {}},
    "/v1/embeddings": {"input": "hello"},
    "/score": {"text_1": "a", "text_2": "b"},
    "/tokenize": {"prompt": "hello"},
}


@pytest.mark.parametrize("path", BODIES)
async def test_whatever_a_rank_is_asked_to_do_counts(path: str) -> None:
    async with limited(pools_of_nobody(), named("team", requests_per_minute=1)) as (served, _):
        assert (await served.client.get("/v1/models", headers=bearing("team"))).status_code == 200
        body = {"model": "sim"} | BODIES[path]
        answers = [await served.client.post(path, json=body, headers=bearing("team")) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [502, 429]
    assert "1 request per minute" in answers[1].json()["error"]["message"]
    assert answers[1].json().get("type") == ("error" if path == "/v1/messages" else None)


async def test_recordings_count() -> None:
    async with limited(pools_of_nobody(), named("team", requests_per_minute=1)) as (served, _):
        answers = [
            await served.client.post(
                "/v1/audio/transcriptions", data={"model": "sim"}, files={"file": b"x" * 100}, headers=bearing("team")
            )
            for _ in range(2)
        ]
    assert [answer.status_code for answer in answers] == [502, 429]


async def test_websockets_count() -> None:
    offer = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "YQ==",
    }
    key = {"sec-websocket-protocol": "realtime, openai-insecure-api-key.fb-team"}
    async with limited(pools_of_nobody(), named("team", requests_per_minute=1)) as (served, _):
        answers = [await served.client.get("/v1/realtime", headers=offer | key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [502, 429]


async def test_a_request_that_is_placed_anew_is_charged_once() -> None:
    pool = FakePool(
        card("http://127.0.0.1:9", rank="p", role=Role.PREFILL), card("http://127.0.0.1:9", rank="d", role=Role.DECODE)
    )
    key = named("team", requests_per_minute=5, tokens_per_minute=10_000)
    async with limited(FakePools(pool), key) as (served, store):
        assert (await served.complete(bearing("team"), max_tokens=5)).status_code == 502
        await eventually_used(store, 0)
        assert await used(store, "team") == [1, 0]
    assert len(pool.asked) > 1


async def test_a_client_that_leaves_costs_what_was_expected() -> None:
    async with scripted_rank(stalls) as rank:
        pool = FakePool(card(rank.url))
        async with limited(FakePools(pool), named("team", tokens_per_minute=1_000, requests_at_once=1)) as (
            served,
            store,
        ):
            with pytest.raises(httpx.ReadTimeout):
                await served.client.post(
                    COMPLETIONS,
                    json={"model": "sim", "prompt": "x", "max_tokens": 40},
                    headers=bearing("team"),
                    timeout=0.5,
                )
            await eventually(lambda: nothing_is_held(served, pool))
            assert (await used(store, "team"))[1] > 40
            rank.script = completes

            async def is_let_in() -> bool:
                return (await served.complete(bearing("team"))).status_code == 200

            await until(is_let_in, "it does not count as running any more")


async def test_a_client_that_leaves_a_stream_costs_what_it_was_given() -> None:
    key = named("team", tokens_per_minute=1_000)
    async with scripted_rank(streams_on) as rank:
        pool = FakePool(card(rank.url))
        async with limited(FakePools(pool), key) as (served, store):
            body = {"model": "sim", "prompt": "x", "max_tokens": 900, "stream": True}
            request = served.client.stream("POST", COMPLETIONS, json=body, headers=bearing("team"))
            async with request as answer:
                lines = answer.aiter_lines()
                for _ in range(2 * EVENTS):
                    await anext(lines)
            await eventually_used(store, pool.asked[0].prompt_tokens + EVENTS)


async def test_a_recording_that_does_not_say_how_long_it_is_costs_what_has_come() -> None:
    whole = form(field("model", "sim"), file(bytes(6_400_000)))
    key = named("team", tokens_per_minute=100_000)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(whole), 1 << 20):
            yield whole[start : start + (1 << 20)]

    async with (
        receiving_rank() as rank,
        limited(FakePools(pool := FakePool(card(rank.url))), key) as (served, store),
    ):
        headers = bearing("team") | {"content-type": FORM_TYPE}
        answer = await served.client.post("/v1/audio/transcriptions", content=pieces(), headers=headers)
        assert answer.status_code == 200
        assert pool.asked[0].prompt_tokens == 1_500
        await eventually_used(store, len(whole) // 320)


async def test_a_websocket_costs_what_was_said_on_it() -> None:
    key = named("team", tokens_per_minute=100_000)
    async with websocket_rank() as rank, limited(FakePools(FakePool(card(rank.url))), key) as (served, store):
        async with connecting(served, additional_headers=bearing("team")) as client:
            for _ in range(2):
                await sent(client, os.urandom(1_700_000))

        async def is_charged() -> bool:
            return 4_000 <= (await used(store, "team"))[1] < 4_100

        await until(is_charged, "what was said is charged")
