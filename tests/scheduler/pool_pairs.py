"""Pairs of prefill and decode ranks at a gateway's pool."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scheduler.decision import Decision, LegKind, Place
from scheduler.messages import RankState
from tests.polling import until
from tests.samples import report
from tests.scheduler.samples import PAIRABLE, pd_card
from tests.scheduler.scene import Scene, at_work

TWO_AND_TWO = ("p1", "p2", "d1", "d2")


@asynccontextmanager
async def pairs_at_work(*ranks: str, policy: str = "least_work") -> AsyncIterator[Scene]:
    async with at_work(*ranks, policy=policy, card_of=pd_card) as scene:
        await until(lambda: set(scene.pool.view.ranks) == set(ranks), "all ranks are known")
        yield scene


def placed(decision: Decision) -> Place:
    assert isinstance(decision, Place), decision
    return decision


async def pair(scene: Scene) -> Place:
    return placed(await scene.pool.place(PAIRABLE))


def on(place: Place) -> list[tuple[LegKind, str]]:
    return [(leg.kind, leg.card.rank) for leg in place.legs]


def other(rank: str) -> str:
    return {"d1": "d2", "d2": "d1"}[rank]


async def down(scene: Scene, rank: str) -> None:
    """An agent says of a rank that it is down, and the gateway reads of it."""
    await scene.agent.report([report(rank, state=RankState.DOWN)], {rank: pd_card(rank)})
    await until(lambda: scene.pool.view.ranks[rank].state is RankState.DOWN, "the gateway read of it")
