"""What counts for a key's limits, and for how much."""

import httpx
import pytest

from scheduler.decision import Reject
from scheduler.messages import Role
from tests.gateway.fake_pools import FakePool, FakePools, card, pools_of_nobody
from tests.gateway.limited import eventually_used, limited, used
from tests.gateway.named_keys import bearing, named
from tests.gateway.running import COMPLETIONS, eventually, nothing_is_held
from tests.gateway.scripted_rank import Exchange, completes, scripted_rank, stalls
from tests.polling import until


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
    assert "1 requests per minute" in answers[1].json()["error"]["message"]
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
