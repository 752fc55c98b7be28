"""Who holds what when the store began anew: its index knows nothing, and a gateway goes by what it remembers."""

from __future__ import annotations

from scheduler.snapshots import RELEARN_S
from tests.polling import until
from tests.scheduler.prefix_scene import known, placed, prompt, tell, touches
from tests.scheduler.scene import Scene


async def begin_anew(scene: Scene, incarnation: str = "i1") -> None:
    """The store is empty, and its agents and this gateway have said again what the ledger knew."""
    await until(lambda: bool(touches(scene)), "what was placed is told, and lost")
    epoch = scene.pool.view.epoch
    scene.wire.store.data = {}
    await tell(scene, 0, incarnation=incarnation)
    await until(lambda: scene.pool.view.epoch != epoch and not scene.pool.degraded, "the pool is whole again")


async def test_a_prompt_goes_where_its_beginning_was_though_the_index_is_empty() -> None:
    async with known() as scene:
        rank, _ = await placed(scene, prompt(1, 2, 3))
        await begin_anew(scene)
        assert await placed(scene, prompt(1, 2, 3, 4)) == (rank, 600)
        assert scene.pool.counters["placed_alone"] == 0


async def test_what_is_placed_then_the_index_knows_from_then_on() -> None:
    async with known() as scene:
        rank, _ = await placed(scene, prompt(1, 2, 3))
        await begin_anew(scene)
        await placed(scene, prompt(1, 2, 3))
        scene.now_s += RELEARN_S
        assert await placed(scene, prompt(1, 2, 3, 4)) == (rank, 600)


async def test_what_nobody_asked_for_meanwhile_is_remembered_no_longer() -> None:
    async with known() as scene:
        await placed(scene, prompt(1, 2, 3))
        await begin_anew(scene)
        scene.now_s += RELEARN_S
        assert (await placed(scene, prompt(1, 2, 3)))[1] == 1_600


async def test_a_new_life_is_remembered_to_hold_nothing() -> None:
    async with known() as scene:
        await placed(scene, prompt(1, 2, 3))
        await begin_anew(scene, "i2")
        assert (await placed(scene, prompt(1, 2, 3)))[1] == 1_600


async def test_a_gateway_goes_by_the_index_alone_where_the_store_did_not_begin_anew() -> None:
    async with known() as scene:
        await placed(scene, prompt(1, 2, 3))
        await until(lambda: bool(touches(scene)), "it is told")
        for block in [key for key in scene.wire.store.data if b"/" in key]:
            del scene.wire.store.data[block]
        assert (await placed(scene, prompt(1, 2, 3)))[1] == 1_600
