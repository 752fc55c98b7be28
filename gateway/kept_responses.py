"""The responses that ranks keep for their clients: noted when they are first seen, and found again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import anyio
import msgspec

from gateway.access import RequestRecord
from gateway.errands import Errands
from gateway.errors import StoreLostError, UnknownResponseError, quoted
from gateway.metrics import Metrics
from gateway.placing import Pool, Pools
from gateway.rank_wait import RankWait
from gateway.shape import NO_LOAD
from scheduler.errors import SchedulerError
from scheduler.homes import Home
from scheduler.messages import RankCard

T = TypeVar("T")

WRITE_WITHIN_S = 1.0
READ_WITHIN_S = 1.0
RETRY_AFTER_MS = 1_000
AT_ONCE = 64
"""Writes under way together."""
MOST_UNWRITTEN = 20_000
"""More than that is not remembered for a store that is slow or gone."""


class KeptResponses:
    """Those of all pools, for `ttl_s` seconds each; 0 notes none."""

    def __init__(self, pools: Pools, metrics: Metrics, errands: Errands, ttl_s: int, rank_wait: RankWait) -> None:
        self._pools = pools
        self._rank_wait = rank_wait
        self._metrics = metrics
        self._errands = errands
        self._ttl_s = ttl_s
        self._unwritten: dict[str, Home] = {}
        self._has_some = asyncio.Event()

    def note(self, response: str, pool: str, card: RankCard) -> None:
        """A rank has this response; returns at once, never fails, and needs no task of the caller's."""
        if not self._ttl_s:
            return
        if len(self._unwritten) >= MOST_UNWRITTEN:
            self._count(pool, kept=False)
            return
        self._unwritten[response] = Home(pool, card.rank, card.incarnation)
        self._has_some.set()

    async def run(self) -> None:
        """Write what is noted until cancelled, and then what is left, for up to `WRITE_WITHIN_S`."""
        try:
            while True:
                await self._has_some.wait()
                self._has_some.clear()
                while self._unwritten:
                    await self._write_some()
        finally:
            with anyio.move_on_after(WRITE_WITHIN_S, shield=True):
                while self._unwritten:
                    await self._write_some()

    async def _write_some(self) -> None:
        async with anyio.create_task_group() as group:
            for response, home in list(self._unwritten.items())[:AT_ONCE]:
                group.start_soon(self._write, response, home, name="note a response")

    async def _write(self, response: str, home: Home) -> None:
        kept = False
        try:
            with anyio.move_on_after(WRITE_WITHIN_S):
                await self._pools.homes.keep(response, home, self._ttl_s)
                kept = True
        except SchedulerError:
            kept = False  # counted: whoever asks for it will be told that it is unknown
        # Not where the writing is cancelled: then it is yet to be written.
        if self._unwritten.get(response) is home:
            del self._unwritten[response]
        self._count(home.pool, kept=kept)

    def _count(self, pool: str, *, kept: bool) -> None:
        self._metrics.responses_noted.labels(pool, str(kept).lower()).inc()

    async def find(self, response: str, record: RequestRecord) -> tuple[Pool, RankCard]:
        """The rank that has a response, and its pool; one that left is waited for: its agent may be restarting. Not one
        that was drained before: it was taken out.

        Raises UnknownResponseError, also where the rank was restarted since, and StoreLostError.
        """
        home = self._unwritten.get(response) or await self._asked(partial(self._pools.homes.find, response))
        pool = self._pools.known(home.pool) if home else None
        if home is None or pool is None:
            raise unknown(response)
        if home.rank not in pool.view.ranks and not await self._is_drained(home):
            await self._rank_wait.comes(pool, msgspec.structs.replace(NO_LOAD, only_on=home.rank), record)
        rank = pool.view.ranks.get(home.rank)
        if rank is None or rank.card.incarnation != home.incarnation:
            raise unknown(response)
        return pool, rank.card

    async def _is_drained(self, home: Home) -> bool:
        """Whether that is known of a rank."""
        try:
            return await self._asked(partial(self._pools.homes.is_drained, home))
        except StoreLostError:
            return False

    async def _asked(self, question: Callable[[], Awaitable[T]]) -> T:
        """Has a task of its own ask: a client that leaves must not break off an exchange with the store.

        Raises StoreLostError.
        """
        found: asyncio.Future[T | SchedulerError] = asyncio.get_running_loop().create_future()

        async def ask() -> None:
            try:
                answer_or_error: T | SchedulerError = await question()
            except SchedulerError as error:
                answer_or_error = error
            if not found.done():
                found.set_result(answer_or_error)

        self._errands.run(ask, "find a response", READ_WITHIN_S)
        try:
            with anyio.fail_after(READ_WITHIN_S):
                answer_or_error = await found
            if isinstance(answer_or_error, SchedulerError):
                raise answer_or_error
        except (SchedulerError, TimeoutError) as error:
            text = "Which rank has the response cannot be looked up now"
            raise StoreLostError(text, retry_after_ms=RETRY_AFTER_MS) from error
        return answer_or_error


def unknown(response: str) -> UnknownResponseError:
    """The error for a response that no rank has; vLLM's words."""
    return UnknownResponseError(f"Response with id '{quoted(response)}' not found.", param="response_id")
