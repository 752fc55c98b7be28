"""Drains outlive a store that lost everything: the agents restate them."""

from __future__ import annotations

from scheduler import admin
from scheduler.calls import Call, Reply
from scheduler.keys import POOLS, PoolKeys
from scheduler.lua import Script
from tests.polling import until
from tests.scheduler.scene import SETTINGS, at_work


async def test_a_drained_rank_is_drained_in_a_store_that_came_back_empty() -> None:
    async with at_work("a", "b") as scene:
        await admin.drain(scene.wire.store, "a", SETTINGS)
        await scene.report("a", "b")
        scene.wire.store.data.clear()
        await scene.report("a", "b")
        ranks = (await admin.status(scene.wire.store, SETTINGS)).ranks
        assert {rank.rank: rank.drained for rank in ranks} == {"a": True, "b": False}


async def test_a_rank_that_was_undrained_is_not_drained_again() -> None:
    async with at_work("a") as scene:
        await admin.drain(scene.wire.store, "a", SETTINGS)
        await scene.report("a")
        await admin.drain(scene.wire.store, "a", SETTINGS, undo=True)
        await scene.report("a")
        scene.wire.store.data.clear()
        await scene.report("a")
        ranks = (await admin.status(scene.wire.store, SETTINGS)).ranks
        assert [rank.drained for rank in ranks] == [False]


async def test_a_list_of_pools_that_was_lost_alone_is_made_again() -> None:
    async with at_work("a") as scene:
        await scene.wire.store.command("DEL", POOLS)

        async def listed() -> bool:
            await scene.report("a")
            return bool(await scene.wire.store.command("SMEMBERS", POOLS))

        await until(listed, "the pool is listed")


async def test_a_rank_is_drained_though_the_epoch_ends_meanwhile() -> None:
    async with at_work("a") as scene:
        store = scene.wire.store
        run = store.run

        async def ending_once(calls: list[Call]) -> list[Reply]:
            if calls[0].script is Script.DRAIN:
                store.run = run  # type: ignore[method-assign]
                await store.command("SET", PoolKeys("m").head, "another 0 0 1")
            return await run(calls)

        store.run = ending_once  # type: ignore[assignment, method-assign]
        assert await admin.drain(store, "a", SETTINGS) == "m"
