"""Serves a request that has been read: place, attempt, and anew while there is something left to try."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, assert_never

import anyio
import msgspec

from gateway import backoff
from gateway.attempt import Attempt
from gateway.errors import GatewayError, NoRankError, PoolFullError, RankErrorAnswerError
from gateway.gateway import RETRY_AFTER_MS, Gateway
from gateway.hedging import may_be_hedged
from gateway.held import Held
from gateway.outcome import Outcome
from gateway.placing import Pool
from gateway.race import Contest, Race
from gateway.request import Request
from gateway.retriable import Again, again_of
from gateway.retry import ASKED_AGAIN_S, Finish, GiveUp, PlaceAgain, Step, Tries, next_step
from gateway.usage import Usage
from scheduler.decision import Decision, Place, Reject, RequestShape, Wait

log = logging.getLogger(__name__)

FIRST_RETRY = 2
"""Which placement it is."""

HELD_S = 0.05
"""What has failed is held no longer before it is moved to the next placement; for a longer wait it is given back."""


class Attempted(Protocol):
    """One try at a placed request, as `Attempt` is one."""

    async def run(self) -> Outcome:
        """Serve it, or say what went wrong. Raises what is not to be tried anew."""


Begin = Callable[[Place, Tries], Attempted]


class Serving:
    """One request in one pool; `begin` makes the attempts at it."""

    def __init__(self, gateway: Gateway, pool: Pool, request: Request, begin: Begin | None = None) -> None:
        self._gateway = gateway
        self._pool = pool
        self._request = request
        self._begin = begin or partial(Attempt, gateway, pool, request)

    async def run(self, shape: RequestShape) -> Usage | None:
        """Answer the client; the usage the engine reports, if any.

        Raises PoolFullError, NoRankError, and whatever error is the client's to hear.
        """
        tries: Tries | Finish = Tries(pairable=shape.pairable, again=self._again(shape))
        with self._gateway.retry_budget, Held(self._pool) as held:
            while isinstance(tries, Tries):
                tries = await self._try(held, shape, tries)
        return tries.usage

    async def _try(self, held: Held, shape: RequestShape, tries: Tries) -> Tries | Finish:
        """One try; of one that failed nothing is kept but what the next one has to know. Raises as `run`."""
        asked = msgspec.structs.replace(shape, pairable=tries.pairable)
        place = self._place_or_raise(await self._decide(held, asked, tries.avoid))
        if (error := tries.end_before(place)) is not None:
            return await self._give_up(held, error)
        if not all(leg.card.serves_whole for leg in place.legs):
            tries = msgspec.structs.replace(tries, needs_pair=True)
        began_s = time.monotonic()
        outcome = await self._attempt(held, asked, place, tries)
        may_ask_again = self._gateway.rank_wait.may_wait(self._request.record)
        match self._affordable(next_step(tries, outcome, may_ask_again=may_ask_again)):
            case Finish() as step:
                return step
            case GiveUp(error):
                return await self._give_up(held, error)
            case PlaceAgain(asks_again=True) as step:
                self._request.record.waited_s += time.monotonic() - began_s
                held.release()
                await self._gateway.rank_wait.pause(ASKED_AGAIN_S, self._request.record)
                return step.tries
            case PlaceAgain() as step:
                await self._back_off(held, step)
                return step.tries
            case step:
                assert_never(step)

    async def _attempt(self, held: Held, shape: RequestShape, place: Place, tries: Tries) -> Outcome:
        hedging, request = self._gateway.hedging, self._request
        if hedging is None or not may_be_hedged(request.route, request.body.fields, place, tries):
            return await self._begin(place, tries).run()
        return await Race(Contest(self._gateway, self._pool, request, hedging), shape).run(held, place, tries)

    def _again(self, shape: RequestShape) -> Again:
        return again_of(self._request.route.kind, self._request.body.fields, only_on=shape.only_on)

    def _affordable(self, step: Step) -> Step:
        """The step, unless it is one more retry than there may be."""
        if not isinstance(step, PlaceAgain) or step.asks_again:
            return step
        failed, metrics = step.after, self._gateway.retry_metrics
        if not self._gateway.retry_budget.take(is_first=step.tries.placements == FIRST_RETRY):
            metrics.refused.labels(self._pool.name, failed.trouble.value).inc()
            return GiveUp(failed.error)
        metrics.retries.labels(self._pool.name, failed.trouble.value).inc()
        line = {
            "event": "retry",
            "id": self._request.record.id,
            "attempt_id": self._request.record.attempt_id,
            "pool": self._pool.name,
            "rank": failed.rank,
            "kv_of": failed.kv_of,
            "reason": failed.trouble,
            "error": failed.error.message,
        }
        log.warning(msgspec.json.encode(line).decode())
        return step

    async def _back_off(self, held: Held, step: PlaceAgain) -> None:
        """Before the next placement. What has failed counts as load no longer than a placement takes."""
        wait_s = backoff.wait_s(step.tries.placements - 1, random.random(), refused=step.was_refused)
        if wait_s > HELD_S:
            held.release()
        if wait_s:
            await anyio.sleep(wait_s)

    async def _give_up(self, held: Held, error: GatewayError) -> Finish:
        """Give the client the error of the last attempt: what its rank said, if it said something. Raises it else."""
        held.release()
        if not isinstance(error, RankErrorAnswerError):
            raise error
        await self._request.reply.whole(error.status, error.headers, error.body)
        return Finish(None)

    async def _decide(self, held: Held, shape: RequestShape, avoid: frozenset[str]) -> Decision:
        async def place() -> Decision:
            asked_s = time.monotonic()
            decision = await held.place(shape, receipt_for=self._request.receipt_for, avoid=avoid)
            self._gateway.metrics.place.labels(self._pool.name).observe(time.monotonic() - asked_s)
            return decision

        return await self._gateway.rank_wait.decide(self._pool, shape, avoid, place, self._request.record)

    def _place_or_raise(self, decision: Decision) -> Place:
        match decision:
            case Place():
                return decision
            case Wait():
                self._gateway.metrics.not_placed.labels(self._pool.name, "wait").inc()
                raise PoolFullError(
                    f"Every rank of `{self._pool.name}` is full; try again later",
                    retry_after_ms=decision.retry_after_ms,
                )
            case Reject():
                self._gateway.metrics.not_placed.labels(self._pool.name, "reject").inc()
                raise NoRankError(decision.reason, retry_after_ms=RETRY_AFTER_MS)
            case _:
                assert_never(decision)
