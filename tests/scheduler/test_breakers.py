"""Breakers as pools use them, on the wire and on a real Redis: words go to all, and what goes wrong harms nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from scheduler import admin
from scheduler.decision import Place
from scheduler.errors import StoreRejectedError
from scheduler.lua import Script
from scheduler.pool import Pool
from scheduler.store import Store, open_store
from tests.polling import until
from tests.samples import card, report
from tests.scheduler.pools_at_work import reporter
from tests.scheduler.samples import SHAPE, rules
from tests.scheduler.scene import SETTINGS, Scene, at_work
from tests.servers import needs_redis, redis_server


def fail(pool: Pool, rank: str, times: int = 3) -> None:
    for _ in range(times):
        pool.heard(pool.view.ranks[rank].card, False)


async def place_and_release(pool: Pool) -> str:
    place = await pool.place(SHAPE)
    assert isinstance(place, Place)
    pool.release(place.reservation)
    return place.legs[0].card.rank


def told(scene: Scene) -> int:
    """How often the store was told of breakers."""
    return sum(batch.count(Script.BREAKER) for batch in scene.wire.batches)


async def test_where_nothing_fails_the_store_is_told_nothing_of_breakers() -> None:
    async with at_work("a", "b") as scene:
        for _ in range(20):
            scene.pool.heard(scene.pool.view.ranks["a"].card, True)
            await place_and_release(scene.pool)
        await asyncio.sleep(0.1)
        assert told(scene) == 0
        assert scene.keys.breaker.encode() not in scene.wire.store.data


async def test_who_saw_a_rank_fail_leaves_it_out_at_once() -> None:
    async with at_work("a", "b") as scene:
        fail(scene.pool, "a")
        assert scene.pool.left_out == {"a"}
        assert {await place_and_release(scene.pool) for _ in range(9)} == {"b"}
        decoded = await scene.pool.place(SHAPE, receipt_for="req")
        assert isinstance(decoded, Place)


async def test_words_of_a_moment_go_in_one_exchange() -> None:
    async with at_work("a", "b") as scene:
        fail(scene.pool, "a", 50)
        fail(scene.pool, "b", 50)
        await until(lambda: scene.keys.breaker.encode() in scene.wire.store.data, "the store was told")
        rows = await scene.wire.store.command("HGETALL", scene.keys.breaker)
        assert [row.split(b":")[1] for row in rows[1::2]] == [b"50", b"50"]


async def test_a_store_that_refuses_breakers_harms_nobody() -> None:
    async with at_work("a", "b") as scene:
        scene.wire.refused, scene.wire.refusal = frozenset({Script.BREAKER}), StoreRejectedError("no permission")
        fail(scene.pool, "a")
        await until(lambda: scene.pool.counters["breaker_losses"] > 0, "it was refused")
        assert {await place_and_release(scene.pool) for _ in range(9)} == {"b"}
        assert not scene.pool.degraded
        await scene.becomes_exact()


async def test_a_key_of_another_type_is_begun_anew() -> None:
    async with at_work("a", "b") as scene:
        key = scene.keys.breaker.encode()
        scene.wire.store.data[key] = b"no hash"

        def is_mended() -> bool:
            fail(scene.pool, "a", 1)
            return isinstance(scene.wire.store.data.get(key), dict)

        await until(is_mended, "the key is a hash", pause_s=0.05)
        assert not scene.pool.degraded


async def test_words_of_a_rank_that_is_not_there_are_none() -> None:
    async with at_work("a", "b") as scene:
        for _ in range(3):
            scene.pool.heard(card("gone"), False)
            scene.pool.heard(card("a", "i0"), False)
        assert scene.pool.left_out == set()
        await asyncio.sleep(0.1)
        assert told(scene) == 0


async def test_of_a_life_that_is_gone_the_store_is_told_once() -> None:
    async with at_work("a", "b") as scene:
        await scene.wire.hold_snapshots()
        await scene.report("a", "b", incarnation="i2")
        fail(scene.pool, "a")
        await until(lambda: told(scene) > 0, "the store was told")
        await asyncio.sleep(0.1)
        assert told(scene) == 1


@asynccontextmanager
async def gateway(store: Store, name: str) -> AsyncIterator[Pool]:
    pool = Pool(
        "m", store, rules("least_requests"), gateway=name, settings=SETTINGS, rng=Random(name),
        clock=asyncio.get_running_loop().time,
    )  # fmt: skip
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(pool.run(), name=name)
        await until(lambda: not pool.degraded and len(pool.view.ranks) == 3, "the pool has joined")
        yield pool
        running.cancel()


@needs_redis
async def test_on_redis_two_gateways_leave_a_rank_out_try_it_once_and_take_it_back(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    with redis_server(tmp_path) as server:
        async with open_store(server.url) as store, open_store(server.url) as other:
            await reporter(store).report([report(name) for name in names], {name: card(name) for name in names})
            async with gateway(store, "g1@h:1") as one, gateway(other, "g2@h:2") as two:
                fail(one, "b")
                await until(lambda: one.left_out == two.left_out == {"b"}, "both leave it out")

                async def breaker() -> str:
                    found = await admin.status(store, SETTINGS)
                    return next(rank.breaker for rank in found.ranks if rank.rank == "b")

                async def is_open() -> bool:
                    return await breaker() == "open"

                await until(is_open, "its breaker is open")
                probes: list[tuple[Pool, int]] = []

                async def is_tried() -> bool:
                    for pool in (one, two, one, two):
                        place = await pool.place(SHAPE)
                        assert isinstance(place, Place)
                        if place.legs[0].card.rank == "b":
                            probes.append((pool, place.reservation))
                        else:
                            pool.release(place.reservation)
                    return bool(probes)

                await until(is_tried, "one gateway tries it")
                assert await breaker() == "half-open"
                for _ in range(5):
                    await is_tried()
                assert len(probes) == 1

                async def is_back() -> bool:
                    await is_tried()
                    while probes:
                        pool, reservation = probes.pop()
                        pool.heard(pool.view.ranks["b"].card, True, reservation)
                        pool.release(reservation)
                    return one.left_out == two.left_out == set()

                await until(is_back, "both take it back", pause_s=0.02)
                assert await breaker() == "starting"
                counters = one.counters + two.counters
                assert (counters["breakers_opened"], counters["breakers_closed"]) == (1, 1)


async def test_a_row_that_is_no_text_gives_way() -> None:
    async with at_work("a", "b") as scene:
        key = scene.keys.breaker
        await scene.wire.store.command("HSET", key, "a", b"\xff\xfe 1 2")
        fail(scene.pool, "a")

        async def is_told() -> bool:
            return b":3:0" in await scene.wire.store.command("HGET", key, "a")

        await until(is_told, "the failures are told")
        assert told(scene) < 5
