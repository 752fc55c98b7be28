"""Who waits for a rank is woken by the snapshot that brings one, with the store and without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from scheduler import admin
from scheduler.decision import Place
from tests.polling import until
from tests.scheduler.samples import SHAPE
from tests.scheduler.scene import SETTINGS, Scene, at_work

NOBODY = frozenset[str]()


@asynccontextmanager
async def without_ranks() -> AsyncIterator[Scene]:
    """A pool whose only rank, a, has left it."""
    async with at_work("a") as scene:
        await scene.agent.goodbye()
        await until(lambda: not scene.pool.view.ranks, "the gateway read of it")
        yield scene


async def some_snapshots(scene: Scene) -> None:
    for _ in range(3):
        await scene.pool._snapshots.newer()


async def test_a_rank_that_comes_wakes_all_that_wait_for_one() -> None:
    async with without_ranks() as scene, asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(scene.pool.rank_comes(SHAPE, NOBODY)) for _ in range(3)]
        await some_snapshots(scene)
        assert not any(each.done() for each in waiting)
        await scene.report("b")
        await asyncio.wait(waiting)
        assert isinstance(await scene.pool.place(SHAPE), Place)


async def test_a_rank_that_cannot_serve_the_request_wakes_nobody() -> None:
    async with without_ranks() as scene, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(scene.pool.rank_comes(msgspec.structs.replace(SHAPE, only_on="c"), NOBODY))
        await scene.report("b")
        await some_snapshots(scene)
        assert not waiting.done()
        await scene.report("c")
        await waiting


async def test_a_rank_that_is_undrained_comes_too() -> None:
    async with at_work("a") as scene, asyncio.TaskGroup() as tasks:
        await admin.drain(scene.wire.store, "a", SETTINGS)
        await until(lambda: scene.pool.view.ranks["a"].drained, "the gateway read of it")
        waiting = tasks.create_task(scene.pool.rank_comes(SHAPE, NOBODY))
        await some_snapshots(scene)
        assert not waiting.done()
        await admin.drain(scene.wire.store, "a", SETTINGS, undo=True)
        await waiting


async def test_a_store_that_comes_back_with_a_rank_wakes_them() -> None:
    async with without_ranks() as scene, asyncio.TaskGroup() as tasks:
        scene.wire.is_down = True
        await until(lambda: scene.pool.degraded, "the loss was noticed")
        waiting = tasks.create_task(scene.pool.rank_comes(SHAPE, NOBODY))
        await scene.report("b")
        scene.wire.is_down = False
        await waiting


@pytest.mark.parametrize("comes", [False, True])
async def test_who_leaves_is_waited_for_no_longer(comes: bool) -> None:
    async with without_ranks() as scene, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(scene.pool.rank_comes(SHAPE, NOBODY))
        await asyncio.sleep(0)
        waiting.cancel()
        if comes:
            await scene.report("b")
            await some_snapshots(scene)
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert not scene.pool._snapshots.awaited._waiting
