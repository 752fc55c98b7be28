"""A prompt that is looked up while something else is asked for its request, before it is placed."""

from __future__ import annotations

import asyncio

from scheduler.lua import Script
from scheduler.prefix_foreseen import Foreseen
from tests.polling import until
from tests.scheduler.prefix_scene import known, placed, prompt
from tests.scheduler.scene import Scene


def look_ups(scene: Scene) -> int:
    return sum(batch.count(Script.PREFIX_LOOK) for batch in scene.wire.prefixes)


async def test_a_prompt_that_was_looked_up_already_is_not_asked_for_again_and_is_found() -> None:
    async with known() as scene:
        rank, _ = await placed(scene, prompt(1, 2))
        before = look_ups(scene)
        scene.pool.foresee(prompt(1, 2))
        await until(lambda: look_ups(scene) > before, "it is looked up before it is placed")
        assert await placed(scene, prompt(1, 2)) == (rank, 100)
        assert look_ups(scene) == before + 1


async def test_each_look_up_serves_one_request() -> None:
    async with known() as scene:
        for _ in range(2):
            scene.pool.foresee(prompt(1))
        await asyncio.gather(*(scene.pool.place(prompt(1)) for _ in range(3)))
        assert look_ups(scene) == 3


async def test_who_asks_no_index_and_what_has_no_blocks_is_not_looked_up() -> None:
    async with known(policy="least_work") as scene:
        scene.pool.foresee(prompt(1))
        await scene.pool.place(prompt(1))
        assert look_ups(scene) == 0
    async with known() as scene:
        scene.pool.foresee(prompt())
        await scene.pool.place(prompt())
        assert look_ups(scene) == 0


async def test_what_was_looked_up_is_of_use_for_a_moment() -> None:
    foreseen = Foreseen(0.05)
    first, second, third = (asyncio.get_running_loop().create_future() for _ in range(3))
    foreseen.keep("k", first, 1.0)
    foreseen.keep("k", second, 1.04)
    foreseen.keep("other", third, 1.04)
    assert foreseen.take("k", 1.06) is second
    assert foreseen.take("k", 1.06) is None
    assert foreseen.take("other", 1.10) is None
    assert foreseen.take("unknown", 1.10) is None
