"""One pair that is placed and may be rebound, on a store whose wire a test can hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from scheduler.decision import Ask, LegKind
from scheduler.ledger import Ledger
from scheduler.lua import Script
from scheduler.messages import Phase
from scheduler.settings import SchedulerSettings
from tests.polling import until
from tests.samples import ask, leg, record
from tests.scheduler.scene import SETTINGS, Scene, at_work

RARELY = msgspec.structs.replace(SETTINGS, renew_ms=60_000)
"""No renewal is on its way when a test holds the wire."""
PAIR = ask(prefills=(leg(LegKind.PREFILL, "a"),), decodes=(leg(LegKind.DECODE, "b"),), transfer_s={"a": {"a": 0.0}})
STAYED, MOVED = record(Phase.PREFILL_DONE, "p a", "d b"), record(Phase.PREFILL_DONE, "p a", "d c")


def to(*ranks: str) -> Ask:
    """The first is the cheapest."""
    return ask(decodes=tuple(leg(LegKind.DECODE, rank, float(place)) for place, rank in enumerate(ranks)))


class PairScene:
    """A scene in which one pair is placed on a and b."""

    def __init__(self, scene: Scene, held: int) -> None:
        self.wire, self.held, self._scene = scene.wire, held, scene
        self.ledger: Ledger = scene.pool._ledger

    @property
    def record(self) -> str:
        return self.ledger.live[self.held].record()

    def count(self, script: Script) -> int:
        return [each for batch in self.wire.batches for each in batch].count(script)

    async def is_exact(self) -> bool:
        stored: dict[int, str] = {}
        for name in await self._scene._names():
            cells = iter(await self.wire.store.command("HGETALL", self._scene.keys.live(name.decode())))
            stored |= {int(each): spelled.decode() for each, spelled in zip(cells, cells, strict=True)}
        return stored == {each: held.record() for each, held in self.ledger.live.items()}

    async def becomes_exact(self) -> None:
        await until(self.is_exact, "the ledger holds what the gateway holds")


@asynccontextmanager
async def a_pair(settings: SchedulerSettings = RARELY) -> AsyncIterator[PairScene]:
    async with at_work("a", "b", "c", settings=settings) as scene:
        while (placed := await scene.pool._ledger.place(PAIR)) is None:
            continue  # on a busy machine it may take longer than a hasty gateway waits
        pair = PairScene(scene, placed.reservation_id)
        pair.ledger.advance(pair.held, Phase.DISPATCHED)
        await pair.becomes_exact()
        yield pair
        scene.wire.let_go()
        await pair.becomes_exact()


async def on_its_way(pair: PairScene, tasks: asyncio.TaskGroup) -> asyncio.Task[object]:
    """A question to move to c that the store has yet to hear."""
    pair.wire.hold()
    asking = tasks.create_task(pair.ledger.rebind(pair.held, to("c")), name="asking")
    await until(lambda: pair.count(Script.REBIND) == 1, "the question is on its way")
    return asking
