"""The clients of a run: requests at random moments, each to a gateway in turn, and to the next one if its own dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from tests.chaos.fleet import now_s
from tests.chaos.http_client import ask
from tests.chaos.judging import Observed, Verdict, judge
from tests.chaos.outcome import Outcome
from tests.chaos.settings import MODEL, ChaosSettings
from tests.chaos.workload import Asked, request

MOST_AT_ONCE = 300
MOST_TRIES = 8
PAUSE_S, LONGEST_PAUSE_S, PAUSE_JITTER = 0.5, 8.0, 0.25
"""Before another try, as OpenAI's Python client: doubled each time, and up to so much of it less."""
UNREADY = 503

Excuse = Callable[[int, float, float, int], bool]
"""Whether a gateway was dead or ending: its number, when the request was sent and over, and the status seen."""


class Load:
    """Sends the requests of a run one after another; `outcomes` has those that are over."""

    def __init__(self, settings: ChaosSettings, ports: Sequence[int], is_excused: Excuse) -> None:
        self.outcomes: list[Outcome] = []
        self.begun = 0
        self._settings, self._ports, self._is_excused = settings, ports, is_excused
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    async def run(self, requests: int, goes_on: Callable[[], bool]) -> None:
        """So many requests at least, and as long as `goes_on`; returns when all are answered."""
        chance = Random(f"load {self._settings.seed}")
        at_s, sent = now_s(), 0
        async with asyncio.TaskGroup() as tasks:
            while sent < requests or goes_on():
                at_s = max(at_s + chance.expovariate(self._settings.rate), now_s() - 1.0)
                await asyncio.sleep(max(0.0, at_s - now_s()))
                await self._places.acquire()
                tasks.create_task(self._placed(self.begun), name=f"request {self.begun}")
                self.begun += 1
                sent += 1

    async def tiny(self, requests: int) -> None:
        """So many more, short ones and all at once; returns when they are answered."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.begun, self.begun + requests):
                asked = request(self._settings.seed, number, MODEL, tiny=True)
                tasks.create_task(self._one(asked), name=f"request {number}")
        self.begun += requests

    async def _placed(self, number: int) -> None:
        try:
            await self._one(request(self._settings.seed, number, MODEL))
        finally:
            self._places.release()

    async def _one(self, asked: Asked) -> None:
        died, began_s = list[int](), now_s()
        chance = Random(f"pauses {self._settings.seed} {asked.number}")
        for number in range(MOST_TRIES):
            gateway = (asked.number + number) % len(self._ports)
            seen = await ask(self._ports[gateway], asked, self._settings.patience_s)
            verdict = judge(asked, seen)
            if not self._own_gateway_died(gateway, verdict, seen):
                break
            died.append(gateway)
            pause_s = min(PAUSE_S * 2**number, LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s * (1 - PAUSE_JITTER * chance.random()))
        self.outcomes.append(Outcome.of(asked, seen, verdict, began_s=began_s, gateway=gateway, died=tuple(died)))

    def _own_gateway_died(self, gateway: int, verdict: Verdict, seen: Observed) -> bool:
        """Or was not ready, as /readyz would have told a balancer: it may refuse until then."""
        broke = seen.ending in ("refused", "reset", "closed") or seen.status == UNREADY
        if verdict.judgment not in ("lost", "silent") or not broke:
            return False
        return self._is_excused(gateway, seen.sent_s, seen.ended_s, seen.status)
