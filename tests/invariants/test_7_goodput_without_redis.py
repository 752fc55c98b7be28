"""Invariant 7 in numbers: at 90 % load, with Redis gone for 10 s, goodput stays at least 0.9 of what it is with it.

Ranks serve prompts one by one at a known rate; a request is good when its first token comes within 2 s. Virtual time.
"""

from __future__ import annotations

import asyncio
from random import Random

from scheduler.decision import Place, RequestShape
from scheduler.messages import Phase
from scheduler.settings import SchedulerSettings
from tests.invariants.virtual_fleet import Gateway, VirtualFleet

RANKS = {f"r{i}": "" for i in range(8)}
TOKENS_PER_S = 1_000.0
MEAN_PROMPT_TOKENS = 100
LOAD = 0.9
RUN_S, GONE_FROM_S, GONE_UNTIL_S = 16.0, 3.0, 13.0
GOOD_WITHIN_S = 2.0


class Trial:
    """One run; the same seed brings the same requests at the same moments."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.fleet = VirtualFleet(SchedulerSettings(), ranks=RANKS, report_ms=400, timeout_ms=500)
        self.fleet.run(50)
        self.gateways = [self.fleet.start_gateway() for _ in range(4)]
        self.fleet.run(600)
        self.free_at_s = dict.fromkeys(RANKS, 0.0)
        self.good = self.lost = 0

    def play(self, *, redis_goes: bool) -> float:
        """Good requests per second."""
        self.fleet.do(self._play(redis_goes=redis_goes))
        self.fleet.close()
        assert self.lost == 0
        return self.good / RUN_S

    async def _play(self, *, redis_goes: bool) -> None:
        started, server = self.fleet.loop.time(), self.fleet.server
        async with asyncio.TaskGroup() as requests:
            while (now_s := self.fleet.loop.time() - started) < RUN_S:
                server.is_down = redis_goes and GONE_FROM_S <= now_s < GONE_UNTIL_S
                prompt_tokens = self.chance.randint(MEAN_PROMPT_TOKENS // 2, MEAN_PROMPT_TOKENS * 3 // 2)
                gateway = self.chance.choice(self.gateways)
                requests.create_task(self._request(gateway, prompt_tokens, str(self.chance.random())))
                per_s = LOAD * len(RANKS) * TOKENS_PER_S / MEAN_PROMPT_TOKENS
                await asyncio.sleep(self.chance.expovariate(per_s))

    async def _request(self, gateway: Gateway, prompt_tokens: int, key: str) -> None:
        arrived = self.fleet.loop.time()
        decision = await gateway.place(RequestShape(prompt_tokens=prompt_tokens, output_tokens=1, prompt_key=key))
        if not isinstance(decision, Place):
            self.lost += 1
            return
        await gateway.advance(decision.reservation, Phase.DISPATCHED)
        rank, now = decision.legs[0].card.rank, self.fleet.loop.time()
        self.free_at_s[rank] = max(now, self.free_at_s[rank]) + prompt_tokens / TOKENS_PER_S
        await asyncio.sleep(self.free_at_s[rank] - now)
        await gateway.release(decision.reservation)
        self.good += self.fleet.loop.time() - arrived <= GOOD_WITHIN_S


def test_goodput_without_redis_is_nearly_as_good() -> None:
    assert Trial(seed=1).play(redis_goes=True) >= 0.9 * Trial(seed=1).play(redis_goes=False)
