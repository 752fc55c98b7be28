"""What a gateway lets in by a key's limits, and what of it is told."""

import anyio
import pytest

from gateway.limit_headers import duration
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.limited import eventually_used, limited, used
from tests.gateway.named_keys import bearing, named
from tests.gateway.running import error_of, eventually
from tests.gateway.scripted_rank import scripted_rank, stalls

PROMPT, ANSWER = 12, 1
"""What the scripted rank counts of a request and its answer."""


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


@pytest.mark.parametrize(("at_once", "said"), [(1, "1 request at once"), (2, "2 requests at once")])
async def test_a_request_beside_as_many_as_may_run_is_a_429(at_once: int, said: str) -> None:
    async with scripted_rank(stalls) as rank:
        pool = FakePool(card(rank.url))
        async with (
            limited(FakePools(pool), named("team", requests_at_once=at_once)) as (served, _),
            anyio.create_task_group() as clients,
        ):
            for _ in range(at_once):
                clients.start_soon(served.complete, bearing("team"))
            await eventually(lambda: len(rank.requests) == at_once)
            refused = await served.complete(bearing("team"))
            clients.cancel_scope.cancel()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert error_of(refused)["message"] == f"The key's limit is reached: {said}"


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


@pytest.mark.parametrize(
    ("ms", "written"),
    [(0, "0s"), (12, "12ms"), (1_000, "1s"), (1_500, "1.5s"), (60_000, "1m0s"), (360_000, "6m0s"),
     (3_661_250, "1h1m1.25s")],
)  # fmt: skip
def test_times_are_written_as_openai_does(ms: int, written: str) -> None:
    assert duration(ms) == written
