"""Faults as they were planned: each begins at its time, holds, and is mended before its kind of part is hit again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random

import msgspec

from tests.chaos.figures import Injected
from tests.chaos.fleet import Fleet, now_s
from tests.chaos.injecting import injection
from tests.chaos.kinds import KINDS
from tests.chaos.looks import GatewayKill
from tests.chaos.placement_times import retries
from tests.chaos.schedule import Planned
from tests.chaos.watching import kill_watched

Say = Callable[[str], None]


class Conductor:
    """Injects; `faults` are those that are over, `kills` what was seen of killed gateways."""

    def __init__(self, fleet: Fleet, planned: Sequence[Planned], overlap: int, say: Say) -> None:
        self.faults: list[Injected] = []
        self.kills: list[GatewayKill] = []
        self.is_done = False
        self._fleet, self._planned, self._say = fleet, planned, say
        self._seen: list[int] = []
        self._places = asyncio.Semaphore(overlap)
        self._parts: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self) -> None:
        """All of them; returns when the last is mended."""
        begin_s = now_s()
        self._seen = await self._retries()
        async with asyncio.TaskGroup() as tasks:
            for planned in self._planned:
                await asyncio.sleep(max(0.0, begin_s + planned.at_s - now_s()))
                await self._places.acquire()
                tasks.create_task(self._one(planned), name=f"fault {planned.number}")
        self.is_done = True

    async def count_retries(self) -> None:
        """What gateways have tried again since this was called last is the doing of the last fault that is over: a
        retry may come when its fault has been mended.
        """
        seen = await self._retries()
        gained = sum(now - (then if now >= then else 0) for then, now in zip(self._seen, seen, strict=True))
        self._seen = seen
        if self.faults:
            self.faults[-1] = msgspec.structs.replace(self.faults[-1], retries=self.faults[-1].retries + gained)

    async def _one(self, planned: Planned) -> None:
        # Promised is that any one thing may fail: of two ranks at once a request may meet both.
        try:
            async with self._parts[KINDS[planned.kind].part]:
                await self._inject(planned)
        finally:
            self._places.release()

    async def _inject(self, planned: Planned) -> None:
        await self.count_retries()
        async with contextlib.AsyncExitStack() as stack:
            begin_s = now_s()
            if planned.kind == "gateway-kill":
                process = self._fleet.gateways[planned.target]
                self.kills.append(
                    await kill_watched(self._fleet, planned.target, lambda: process.signal(signal.SIGKILL))
                )
                begin_s = self.kills[-1].killed_s
            fault = injection(self._fleet, planned.kind, planned.target, Random(planned.chance))
            await stack.enter_async_context(fault)
            await asyncio.sleep(max(0.0, begin_s + planned.hold_s - now_s()))
        repaired_s = now_s()
        self.faults.append(
            Injected(
                number=planned.number,
                kind=planned.kind,
                target=planned.target,
                begin_s=begin_s,
                repaired_s=repaired_s,
            )
        )
        self._say(
            f"{len(self.faults)}/{len(self._planned)} {planned.kind} {planned.target}: {repaired_s - begin_s:.1f} s"
        )

        await self.count_retries()

    async def _retries(self) -> list[int]:
        numbers = range(len(self._fleet.gateways))
        return [retries(page) for page in await asyncio.gather(*(self._fleet.metrics(number) for number in numbers))]
