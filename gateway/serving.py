"""Serves a request that has been read: place, attempt, and anew while there is something left to try."""

from __future__ import annotations

import logging
import time
from typing import assert_never

import msgspec

from gateway.attempt import Attempt
from gateway.errors import NoRankError, PoolFullError
from gateway.gateway import RETRY_AFTER_MS, Gateway
from gateway.outcome import Failed
from gateway.placing import Pool
from gateway.request import Request
from gateway.retry import Finish, GiveUp, PlaceAgain, Tries, next_step
from gateway.usage import Usage
from scheduler.decision import Decision, Place, Reject, RequestShape, Wait

log = logging.getLogger(__name__)


class Serving:
    """One request in one pool."""

    def __init__(self, gateway: Gateway, pool: Pool, request: Request) -> None:
        self._gateway = gateway
        self._pool = pool
        self._request = request

    async def run(self, shape: RequestShape) -> Usage | None:
        """Answer the client; the usage the engine reports, if any.

        Raises PoolFullError, NoRankError, and whatever error is the client's to hear.
        """
        tries = Tries(pairable=shape.pairable)
        while True:
            asked = msgspec.structs.replace(shape, pairable=tries.pairable)
            place = await self.place(asked, tries.avoid)
            attempt = Attempt(self._gateway, self._pool, self._request, place)
            outcome = await attempt.run(tries.avoid)
            match next_step(tries, outcome):
                case Finish(usage):
                    return usage
                case GiveUp(error):
                    raise error
                case PlaceAgain(tries, failed):
                    self._note_retry(failed)
                case step:
                    assert_never(step)

    async def place(self, shape: RequestShape, avoid: frozenset[str] = frozenset()) -> Place:
        """One placement; whoever asks owns its reservation. Raises PoolFullError, NoRankError."""
        return self._place_or_raise(await self._decide(shape, avoid))

    def _note_retry(self, failed: Failed) -> None:
        self._gateway.metrics.pairs.retries.labels(self._pool.name, failed.trouble.value).inc()
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

    async def _decide(self, shape: RequestShape, avoid: frozenset[str]) -> Decision:
        asked_s = time.monotonic()
        decision = await self._pool.place(shape, receipt_for=self._request.receipt_for, avoid=avoid)
        self._gateway.metrics.place.labels(self._pool.name).observe(time.monotonic() - asked_s)
        return decision

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
