"""What a gateway lets in by a key's limits and models, and what of it is told."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from gateway.limit_headers import duration
from scheduler.api_keys import ApiKey
from scheduler.decision import Reject
from scheduler.keys import limit
from scheduler.limit_rule import SPAN
from scheduler.limits import SharedLimits
from scheduler.settings import SchedulerSettings
from simulator.store import VirtualStore
from tests.gateway.fake_pools import FakePool, FakePools, card, pools_of_nobody
from tests.gateway.named_keys import CREATED, bearing, by_digest, named
from tests.gateway.running import CHAT, Served, error_of, eventually, serving
from tests.gateway.scripted_rank import Exchange, scripted_rank

PATIENT = SchedulerSettings(place_deadline_ms=30_000)
PROMPT, ANSWER = 12, 1
"""What the scripted rank counts of a request and its answer."""


async def refuses(exchange: Exchange) -> None:
    await exchange.answer("400 Bad Request", b'{"error": {"message": "no"}}', "content-type: application/json")


@asynccontextmanager
async def limited(pools: FakePools, *keys: ApiKey, **options: Any) -> AsyncIterator[tuple[Served, VirtualStore]]:
    """A gateway that lets these keys in, with limits in a store of its own."""
    store = VirtualStore()
    limits = SharedLimits(store, gateway="7@gateway", settings=PATIENT, pools=list)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(limits.run())
        async with serving(pools, limits=limits, **options) as served:
            served.gateway.keys.replace("test", by_digest(*keys))
            yield served, store
        task.cancel()


async def used(store: VirtualStore, name: str) -> list[float]:
    """Requests and tokens in the buckets of a key."""
    row: bytes = await store.command("GET", limit(name)) or b"0 0 0 0"
    return [int(level) / SPAN for level in row.split()[2:4]]


async def test_a_request_beyond_the_limit_is_a_429_that_says_when_to_come_back() -> None:
    key = named("team", requests_per_minute=2)
    async with scripted_rank() as rank:
        pool = FakePool(card(rank.url))
        async with limited(FakePools(pool), key) as (served, _):
            answers = [await served.complete(bearing("team")) for _ in range(3)]
            page = (await served.client.get("/metrics")).text
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]
    assert [answer.headers["x-ratelimit-reset-requests"] for answer in answers] == ["30s", "1m0s", "1m0s"]
    refused = answers[-1]
    assert error_of(refused)["message"] == "The key's limit is reached: 2 requests per minute"
    assert (refused.headers["retry-after"], refused.headers["x-ratelimit-limit-requests"]) == ("30", "2")
    assert "x-ratelimit-limit-tokens" not in refused.headers
    assert len(pool.asked) == len(rank.requests) == 2
    assert 'forebay_gateway_key_limited_total{limit="requests",tenant="team"} 1.0' in page


async def test_time_lets_the_next_one_in() -> None:
    async with (
        scripted_rank() as rank,
        limited(FakePools(FakePool(card(rank.url))), named("team", requests_per_minute=1)) as (served, store),
    ):
        statuses = []
        for passed_ms in (0, 59_000, 1_000):
            store.now_ms += passed_ms
            statuses.append((await served.complete(bearing("team"))).status_code)
    assert statuses == [200, 429, 200]


async def test_what_an_answer_has_used_takes_the_place_of_what_was_expected() -> None:
    async with (
        scripted_rank() as rank,
        limited(FakePools(FakePool(card(rank.url))), named("team", tokens_per_minute=300)) as (served, store),
    ):
        answer = await served.complete(bearing("team"), max_tokens=800)
        assert int(answer.headers["x-ratelimit-remaining-tokens"]) < 100
        await eventually_used(store, PROMPT + ANSWER)
        again = await served.complete(bearing("team"), max_tokens=800)
    assert again.status_code == 200


async def eventually_used(store: VirtualStore, tokens: int) -> None:
    levels = [-1.0, -1.0]

    def holds() -> bool:
        row = store.data.get(limit("team").encode())
        text = bytes(row[0] if isinstance(row, tuple) else row) if row else b"0 0 0 0"
        levels[:] = [int(level) / SPAN for level in text.split()[2:4]]
        return levels[1] == tokens

    try:
        await eventually(holds)
    except AssertionError as error:
        raise AssertionError(levels) from error


async def test_a_request_that_could_never_fit_is_not_told_to_come_back() -> None:
    pool = FakePool(card("http://127.0.0.1:9"))
    async with limited(FakePools(pool), named("team", tokens_per_minute=100)) as (served, store):
        answer = await served.complete(bearing("team"), max_tokens=200)
        assert await used(store, "team") == [0, 0]
    assert answer.status_code == 429
    assert "too large for the key: limit 100 tokens per minute" in error_of(answer)["message"]
    assert "retry-after" not in answer.headers
    assert answer.headers["x-should-retry"] == "false"
    assert not pool.asked


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


async def test_nothing_is_asked_for_a_key_without_limits() -> None:
    async with scripted_rank() as rank:
        pool = FakePool(card(rank.url))
        async with limited(FakePools(pool), named("free")) as (served, store):
            answer = await served.complete(bearing("free"))
            assert store.data == {}
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
    assert (len(pool.asked), pool.foreseen) == (1, [])


async def test_the_prompt_is_looked_up_while_the_limit_is_asked_for() -> None:
    async with scripted_rank() as rank:
        pool = FakePool(card(rank.url))
        async with limited(FakePools(pool), named("team", requests_per_minute=1)) as (served, _):
            await served.complete(bearing("team"))
    assert [shape.blocks for shape in pool.foreseen] == [shape.blocks for shape in pool.asked]


async def test_a_key_may_use_its_models_and_sees_no_others() -> None:
    async with scripted_rank() as rank:
        pools = FakePools(FakePool(card(rank.url), name="sim"), FakePool(card(rank.url), name="other"))
        async with limited(pools, named("team", models=("sim",)), named("free")) as (served, _):
            assert (await served.complete(bearing("team"))).status_code == 200
            refused = await served.complete(bearing("team"), model="other")
            unknown = await served.complete(bearing("team"), model="nope")
            seen = {
                name: [
                    each["id"] for each in (await served.client.get("/v1/models", headers=bearing(name))).json()["data"]
                ]
                for name in ("team", "free")
            }
    assert (refused.status_code, error_of(refused)["param"]) == (403, "model")
    assert unknown.status_code == 404
    assert seen == {"team": ["sim"], "free": ["other", "sim"]}


async def test_a_key_that_has_expired_or_is_unknown_lets_nobody_in() -> None:
    old = named("old", expires=CREATED + timedelta(days=-1))
    lasting = named("lasting", expires=CREATED + timedelta(days=36_500))
    async with scripted_rank() as rank, limited(FakePools(FakePool(card(rank.url))), old, lasting) as (served, _):
        statuses = {name: (await served.complete(bearing(name))).status_code for name in ("old", "lasting", "unknown")}
        assert statuses == {"old": 401, "lasting": 200, "unknown": 401}
        assert error_of(await served.complete(bearing("old")))["message"] == "The key has expired"
        served.gateway.keys.replace("test", {})
        assert (await served.complete(bearing("lasting"))).status_code == 401


@pytest.mark.parametrize(
    "authorization",
    [b"Bearer", b"", b"bearer fb-team,fb-team", b"Basic fb-team", b"Bearer fb-te\xc3\xa4m", b"Bearer team",
     b"Bearer " + b"x" * 50_000, b"Bearer\tfb-team", b"fb-team"],
)  # fmt: skip
async def test_odd_headers_let_nobody_in(authorization: bytes) -> None:
    async with limited(pools_of_nobody(), named("team")) as (served, _):
        response = await served.client.get("/v1/models", headers=[(b"authorization", authorization)])
    assert response.status_code == 401


async def test_before_the_keys_are_read_nobody_is_let_in_and_the_gateway_is_not_ready() -> None:
    async with limited(pools_of_nobody()) as (served, _):
        served.gateway.keys._named = {"redis": None}
        response = await served.client.get("/v1/models", headers=bearing("team"))
        ready = await served.client.get("/readyz")
        served.gateway.keys.replace("redis", by_digest(named("team")))
        assert (await served.client.get("/v1/models", headers=bearing("team"))).status_code == 200
        assert (await served.client.get("/readyz")).status_code == 200
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert (ready.status_code, ready.json()["reason"]) == (503, "the keys have not been read yet")


async def test_a_key_is_called_by_its_name_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = named("team", tokens_per_minute=10_000)
    async with scripted_rank() as rank, limited(FakePools(FakePool(card(rank.url))), key) as (served, store):
        await served.client.post(
            CHAT, json={"model": "sim", "messages": [{"role": "user", "content": "x"}]}, headers=bearing("team")
        )
        await served.complete(bearing("stolen"))
        page = (await served.client.get("/metrics")).text
        kept = repr(store.data)
    assert '"tenant":"team"' in caplog.text
    assert 'forebay_gateway_tokens_total{kind="prompt",pool="sim",tenant="team"}' in page
    for told in (caplog.text, page, kept):
        assert "fb-team" not in told
        assert "fb-stolen" not in told
        assert key.sha256 not in told
    assert all(request.header("authorization") is None for request in rank.requests)


@pytest.mark.parametrize(
    ("ms", "written"),
    [(0, "0s"), (12, "12ms"), (1_000, "1s"), (1_500, "1.5s"), (60_000, "1m0s"), (360_000, "6m0s"),
     (3_661_250, "1h1m1.25s")],
)  # fmt: skip
def test_times_are_written_as_openai_does(ms: int, written: str) -> None:
    assert duration(ms) == written
