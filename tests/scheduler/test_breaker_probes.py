"""What became of a probe reaches the store, whatever comes between: else its rank stays out until another is sent."""

from __future__ import annotations

import asyncio

from scheduler.breaker import NOBODY, BreakerState
from scheduler.decision import Place
from scheduler.draining import read_pool
from scheduler.lua import Script
from tests.polling import until
from tests.scheduler.samples import SHAPE
from tests.scheduler.scene import SETTINGS, Scene, at_work


def fail(scene: Scene, rank: str, times: int = 3) -> None:
    for _ in range(times):
        scene.pool.heard(scene.pool.view.ranks[rank].card, False)


def state_of(scene: Scene, rank: str) -> BreakerState:
    breaker = scene.pool.view.ranks[rank].breaker
    return breaker.state(scene.pool.view.pool_ms) if breaker else BreakerState.CLOSED


async def half_open(scene: Scene, rank: str) -> None:
    """The rank has failed, and waits for somebody to probe it."""
    fail(scene, rank)

    def is_half_open() -> bool:
        scene.wire.store.now_ms += 50
        return state_of(scene, rank) is BreakerState.HALF_OPEN

    await until(is_half_open, "its breaker is half-open")


async def probe_of(scene: Scene, rank: str) -> int:
    """The reservation of the request that probes it."""
    while True:
        place = await scene.pool.place(SHAPE)
        assert isinstance(place, Place)
        if place.legs[0].card.rank == rank:
            await asyncio.sleep(0.1)  # what else there is to tell goes on its way
            return place.reservation
        scene.pool.release(place.reservation)
        await asyncio.sleep(0)


async def is_closed(scene: Scene) -> bool:
    """Time stands still, so by an answer and not by what ends after a while."""
    view, _ = await read_pool(scene.wire.store, "m", SETTINGS)
    return all(rank.breaker is None or not rank.breaker.trips for rank in view.ranks.values())


async def test_an_answer_counts_though_a_snapshot_of_before_the_probe_came_after_it() -> None:
    async with at_work("a", "b") as scene:
        await half_open(scene, "a")
        await scene.wire.hold_snapshots()
        probe, before = await probe_of(scene, "a"), scene.pool.view
        scene.wire.let_one_snapshot_arrive()
        await until(lambda: scene.pool.view is not before, "it is read")
        scene.pool.heard(scene.pool.view.ranks["a"].card, True, probe)
        scene.pool.release(probe)
        await until(lambda: is_closed(scene), "the rank is back")
        assert scene.pool.counters["breakers_closed"] == 1


async def test_an_answer_that_the_store_did_not_take_is_told_again() -> None:
    async with at_work("a", "b") as scene:
        await half_open(scene, "a")
        probe = await probe_of(scene, "a")
        scene.wire.refused = frozenset({Script.BREAKER})
        scene.pool.heard(scene.pool.view.ranks["a"].card, True, probe)
        scene.pool.release(probe)
        await until(lambda: scene.pool.counters["breaker_losses"] > 0, "it was refused")
        scene.wire.refused = frozenset()
        await until(lambda: is_closed(scene), "the rank is back")


async def test_a_probe_given_up_is_given_back_though_a_snapshot_of_before_it_came_after_it() -> None:
    async with at_work("a", "b") as scene:
        await half_open(scene, "a")
        await scene.wire.hold_snapshots()
        probe, before = await probe_of(scene, "a"), scene.pool.view
        scene.wire.let_one_snapshot_arrive()
        await until(lambda: scene.pool.view is not before, "it is read")
        scene.pool.release(probe)
        fail(scene, "b", 1)  # there is something to tell
        await until(lambda: is_free(scene), "somebody else may probe it")


async def is_free(scene: Scene) -> bool:
    rows: list[bytes] = await scene.wire.store.command("HGETALL", scene.keys.breaker)
    row = dict(zip(rows[::2], rows[1::2], strict=True))[b"a"]
    return row.split()[4] == NOBODY.encode()
