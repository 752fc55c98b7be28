"""A pool that knows which ranks hold a prompt, for tests of the prefix index."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from scheduler.decision import Place, RequestShape
from scheduler.lua import Script
from scheduler.settings import SchedulerSettings
from tests.polling import until
from tests.samples import card, report
from tests.scheduler.scene import SETTINGS, Scene

RANKS = ("a", "b", "c", "d")
BLOCK_TOKENS = 500


def prompt(*blocks: int) -> RequestShape:
    return RequestShape(
        prompt_tokens=BLOCK_TOKENS * len(blocks) + 100,
        output_tokens=10,
        prompt_key="k",
        blocks=tuple(bytes([block, 0]) for block in blocks),
        block_tokens=BLOCK_TOKENS,
    )


@asynccontextmanager
async def known(
    settings: SchedulerSettings = SETTINGS, odometer: int | None = 0, policy: str = "forebay"
) -> AsyncIterator[Scene]:
    scene = Scene(settings, policy=policy)
    await tell(scene, odometer)
    async with joined(scene):
        yield scene


@asynccontextmanager
async def joined(scene: Scene) -> AsyncIterator[Scene]:
    """The scene with its gateway at work."""
    await scene.pool.refresh()
    running = asyncio.get_running_loop().create_task(scene.pool.run(), name="pool")
    try:
        await until(lambda: not scene.pool.degraded, "the gateway has joined")
        yield scene
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def tell(
    scene: Scene, odometer: int | None, names: Sequence[str] = RANKS, incarnation: str = "i1", found: int = 0
) -> None:
    reports = [report(name, incarnation=incarnation, computed_tokens=odometer, found_tokens=found) for name in names]
    await scene.agent.report(reports, {name: card(name, incarnation) for name in names})


async def placed(scene: Scene, shape: RequestShape) -> tuple[str, int]:
    """The rank, and what is queued there for it; it is released at once, and the index knows."""
    told = len(touches(scene))
    place = await scene.pool.place(shape)
    assert isinstance(place, Place)
    uncached_tokens = scene.pool._ledger.live[place.reservation].uncached_tokens
    scene.pool.release(place.reservation)
    if shape.blocks and not place.alone:
        await until(lambda: len(touches(scene)) > told or not scene.pool._prefixes._untold, "the index is told")
    return place.legs[0].card.rank, uncached_tokens


def touches(scene: Scene) -> list[list[Script]]:
    return [batch for batch in scene.wire.prefixes if Script.PREFIX_TOUCH in batch]
