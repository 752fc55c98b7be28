"""Which ranks of a pair are believed to hold its prompt, and from when on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from scheduler.decision import Place
from scheduler.lua import Script
from scheduler.messages import Phase
from tests.polling import until
from tests.samples import report
from tests.scheduler.pool_pairs import down, other, pairs_at_work, placed
from tests.scheduler.prefix_scene import prompt, touches
from tests.scheduler.samples import pd_card
from tests.scheduler.scene import Scene

RANKS = ("p1", "d1", "d2")
PROMPT = msgspec.structs.replace(prompt(1, 2, 3), pairable=True)


@asynccontextmanager
async def one_and_two() -> AsyncIterator[Scene]:
    async with pairs_at_work(*RANKS, policy="forebay_pairs") as scene:
        reports = [report(rank, computed_tokens=0) for rank in RANKS]
        await scene.agent.report(reports, {rank: pd_card(rank) for rank in RANKS})
        await until(lambda: has_odometers(scene), "all are read")
        yield scene


def has_odometers(scene: Scene) -> bool:
    return all(rank.seen.computed_tokens == 0 for rank in scene.pool.view.ranks.values())


async def begun(scene: Scene) -> Place:
    """A pair that the index was told of."""
    place = placed(await scene.pool.place(PROMPT))
    await told(scene, 1)
    return place


async def told(scene: Scene, words: int) -> None:
    await until(lambda: sum(batch.count(Script.PREFIX_TOUCH) for batch in touches(scene)) == words, "the index is told")


async def holders(scene: Scene) -> set[str]:
    return set((await scene.pool._prefixes.look_up(PROMPT, scene.pool.view)).held.tokens)


async def test_a_decode_rank_is_believed_to_hold_a_prompt_when_it_is_bound() -> None:
    async with one_and_two() as scene:
        place = await begun(scene)
        assert await holders(scene) == {"p1"}
        leg = await scene.pool.rebind(place.reservation)
        assert leg
        await told(scene, 2)
        assert await holders(scene) == {"p1", leg.card.rank}


async def test_a_decode_rank_that_stays_the_one_placed_on_is_believed_to_hold_it_when_the_prefill_is_done() -> None:
    async with one_and_two() as scene:
        place = await begun(scene)
        scene.pool.advance(place.reservation, Phase.PREFILL_DONE)
        await told(scene, 2)
        assert await holders(scene) == {"p1", place.legs[1].card.rank}


async def test_a_decode_rank_that_was_left_is_never_believed_to_hold_the_prompt() -> None:
    async with one_and_two() as scene:
        place = await begun(scene)
        left = place.legs[1].card.rank
        await down(scene, left)
        leg = await scene.pool.rebind(place.reservation)
        assert leg
        assert leg.card.rank == other(left)
        await told(scene, 2)
        assert await holders(scene) == {"p1", other(left)}


async def test_of_a_request_that_ends_before_its_decode_rank_is_bound_nothing_is_kept() -> None:
    async with one_and_two() as scene:
        place = await begun(scene)
        scene.pool.release(place.reservation)
        assert not scene.pool._prefixes._unbound
        assert await scene.pool.rebind(place.reservation) is None
        assert await holders(scene) == {"p1"}
