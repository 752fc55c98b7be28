"""A request that finds no rank waits for one: for a while, and not too many at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any
from unittest.mock import patch

import httpx
import pytest

from gateway import rank_wait
from scheduler.decision import Decision, Reject, RequestShape, Wait
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, card
from tests.gateway.hanging_up import at_once, send_and_hang_up
from tests.gateway.named_keys import bearing, by_digest, named
from tests.gateway.running import COMPLETIONS, Served, error_of, eventually, nothing_is_held, post, serving
from tests.gateway.scripted_rank import scripted_rank

NONE_UP = Reject(reason="no rank of sim is up")
LONG_MS = 600_000
BODY = b'{"model":"sim","prompt":"x","max_tokens":2}'


@asynccontextmanager
async def without_a_rank(rank_wait_ms: int = LONG_MS) -> AsyncIterator[tuple[Served, FakePool]]:
    """A gateway whose pool has a rank that cannot be placed on until the pool's answer is taken away."""
    async with scripted_rank() as rank:
        pool = FakePool(card(rank.url), answer=NONE_UP)
        async with serving(FakePools(pool), rank_wait_ms=rank_wait_ms) as served:
            yield served, pool


def there_is_a_rank(pool: FakePool) -> None:
    pool.answer = None
    pool.has_rank.set()


async def figure(served: Served, name: str) -> float:
    page = (await served.client.get("/metrics")).text
    return next(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))


@pytest.mark.parametrize("stream", [False, True])
async def test_it_is_served_by_the_rank_that_comes(stream: bool) -> None:
    async with without_a_rank() as (served, pool), asyncio.TaskGroup() as clients:
        asking = [clients.create_task(served.complete(stream=stream)) for _ in range(50)]
        await eventually(lambda: len(pool.asked) == len(asking))
        assert await figure(served, "forebay_gateway_waiting_for_rank_requests") == len(asking)
        there_is_a_rank(pool)
        assert {(await each).status_code for each in asking} == {200}
        await eventually(lambda: nothing_is_held(served, pool))
        assert len(pool.asked) == 2 * len(asking), "nobody asked but when there was a rank"
        assert await figure(served, "forebay_gateway_waiting_for_rank_requests") == 0
        assert await figure(served, 'forebay_gateway_rank_wait_seconds_count{pool="sim"}') == len(asking)
        assert await figure(served, 'forebay_gateway_rank_wait_seconds_sum{pool="sim"}') > 0


async def test_a_snapshot_that_promised_too_much_is_no_reason_to_give_up() -> None:
    async with without_a_rank() as (served, pool), asyncio.TaskGroup() as clients:
        asking = clients.create_task(served.complete())
        await eventually(lambda: len(pool.asked) == 1)
        pool.has_rank.set()
        await eventually(lambda: len(pool.asked) > 1)
        there_is_a_rank(pool)
        assert (await asking).status_code == 200


@pytest.mark.parametrize(("rank_wait_ms", "waited"), [(0, False), (20, True)])
async def test_when_its_time_is_over_it_is_a_503(rank_wait_ms: int, waited: bool) -> None:
    async with without_a_rank(rank_wait_ms) as (served, pool):
        response = await served.complete()
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert error_of(response)["message"] == NONE_UP.reason
        assert ("rank_wait_seconds_count" in (await served.client.get("/metrics")).text) == waited
        assert len(pool.asked) == 1


@pytest.mark.parametrize("model", ["sim", None], ids=["named", "the only one"])
async def test_a_pool_that_lost_its_ranks_a_moment_ago_is_waited_for(model: str | None) -> None:
    async with scripted_rank() as rank:
        fakes = FakePools()
        fakes.lost["sim"] = pool = FakePool(card(rank.url), answer=NONE_UP)
        async with serving(fakes, rank_wait_ms=LONG_MS) as served, asyncio.TaskGroup() as clients:
            asking = clients.create_task(served.complete(model=model))
            await eventually(lambda: len(pool.asked) == 1)
            there_is_a_rank(pool)
            assert (await asking).status_code == 200


async def test_a_request_to_a_gateway_that_has_just_started_waits_until_it_knows_its_pools() -> None:
    async with scripted_rank() as rank:
        fakes = FakePools(pool := FakePool(card(rank.url)))
        fakes.ready = False
        async with serving(fakes, rank_wait_ms=LONG_MS) as served, asyncio.TaskGroup() as clients:
            asking = [clients.create_task(served.complete(model=model)) for model in ("sim", None) for _ in range(40)]
            asking.append(clients.create_task(served.client.get("/v1/models")))
            await eventually(lambda: served.gateway.rank_wait.waiting == len(asking))
            assert (await served.client.get("/readyz")).status_code == 503
            await send_and_hang_up(served.port, post(COMPLETIONS, BODY), Random(1), within_s=0.02, earliest=at_once)
            fakes.ready = True
            assert {(await each).status_code for each in asking} == {200}
            await eventually(lambda: nothing_is_held(served, pool))
            assert served.gateway.rank_wait.waiting == 0


async def test_the_bodies_that_wait_for_a_gateway_to_start_are_bounded_too() -> None:
    async with scripted_rank() as rank:
        fakes = FakePools(FakePool(card(rank.url)))
        fakes.ready = False
        with patch.object(rank_wait, "MOST_WAITING_BYTES", 1_000_000):
            async with serving(fakes, rank_wait_ms=LONG_MS) as served, asyncio.TaskGroup() as clients:
                asking = [clients.create_task(served.complete(prompt="x" * 400_000)) for _ in range(5)]
                await eventually(lambda: sum(each.done() for each in asking) == 3)
                assert served.gateway.rank_wait.waiting == 2
                fakes.ready = True
                assert sorted([(await each).status_code for each in asking]) == [200, 200, 503, 503, 503]


async def test_a_key_waits_until_the_keys_have_been_read() -> None:
    async with scripted_rank() as rank:
        fakes = FakePools(FakePool(card(rank.url)))
        fakes.ready = False
        async with serving(fakes, rank_wait_ms=LONG_MS, redis_keys=True) as served, asyncio.TaskGroup() as clients:
            fakes.ready = True
            asking = [clients.create_task(served.complete(bearing(name))) for name in ("team", "nobody")]
            await eventually(lambda: served.gateway.rank_wait.waiting == len(asking))
            assert (await served.complete()).status_code == 401
            served.gateway.keys.replace("redis", by_digest(named("team")))
            assert [(await each).status_code for each in asking] == [200, 401]


async def test_for_an_unknown_model_or_a_full_pool_nobody_waits() -> None:
    full = FakePool(NOWHERE, name="full", answer=Wait(retry_after_ms=1_200))
    async with serving(FakePools(full), rank_wait_ms=LONG_MS) as served:
        statuses = [(await served.complete(model=model)).status_code for model in ("nope", "full")]
        assert "rank_wait_seconds_count" not in (await served.client.get("/metrics")).text
    assert statuses == [404, 429]


async def test_a_client_that_leaves_waits_no_longer() -> None:
    async with without_a_rank() as (served, pool):
        for seed in range(20):
            await send_and_hang_up(served.port, post(COMPLETIONS, BODY), Random(seed), within_s=0.02, earliest=at_once)
        await eventually(lambda: nothing_is_held(served, pool))
        assert await figure(served, "forebay_gateway_waiting_for_rank_requests") == 0
        there_is_a_rank(pool)
        asked = len(pool.asked)
        assert (await served.complete()).status_code == 200
        assert len(pool.asked) == asked + 1


async def test_beyond_the_most_that_may_wait_it_is_a_503_at_once() -> None:
    async def status_of(served: Served) -> int:
        response: httpx.Response = await served.complete()
        return response.status_code

    with patch.object(rank_wait, "MOST_WAITING", 3):
        async with without_a_rank() as (served, pool), asyncio.TaskGroup() as clients:
            asking = [clients.create_task(status_of(served)) for _ in range(5)]
            await eventually(lambda: sum(each.done() for each in asking) == 2)
            there_is_a_rank(pool)
            assert sorted([await each for each in asking]) == [200, 200, 200, 503, 503]
            assert (await served.complete()).status_code == 200


async def test_beyond_the_bytes_that_may_wait_it_is_a_503_at_once() -> None:
    prompt = "x" * 400_000
    with patch.object(rank_wait, "MOST_WAITING_BYTES", 1_000_000):
        async with without_a_rank() as (served, pool), asyncio.TaskGroup() as clients:
            asking = [clients.create_task(served.complete(prompt=prompt)) for _ in range(5)]
            await eventually(lambda: sum(each.done() for each in asking) == 3)
            small = clients.create_task(served.complete())
            await eventually(lambda: len(pool.asked) == 6)
            there_is_a_rank(pool)
            assert sorted([(await each).status_code for each in asking]) == [200, 200, 503, 503, 503]
            assert (await small).status_code == 200
            assert (await served.complete(prompt=prompt)).status_code == 200


async def test_of_many_that_wait_only_some_are_placed_at_once() -> None:
    most, placing = 0, 0

    class Slow(FakePool):
        async def place(self, shape: RequestShape, **options: Any) -> Decision:
            nonlocal most, placing
            if self.answer is not None:
                return await super().place(shape, **options)
            placing += 1
            most = max(most, placing)
            await asyncio.sleep(0.001)
            placing -= 1
            return await super().place(shape, **options)

    with patch.object(rank_wait, "PLACED_AT_ONCE", 4):
        async with scripted_rank() as rank:
            pool = Slow(card(rank.url), answer=NONE_UP)
            async with serving(FakePools(pool), rank_wait_ms=LONG_MS) as served, asyncio.TaskGroup() as clients:
                asking = [clients.create_task(served.complete()) for _ in range(20)]
                await eventually(lambda: len(pool.asked) == len(asking))
                there_is_a_rank(pool)
                assert {(await each).status_code for each in asking} == {200}
    assert most == 4
