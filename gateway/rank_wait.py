"""Requests that no rank can take now wait for one: a pool whose ranks, or whose agent, restart has some in a moment.

Snapshots wake them, those that bring a rank for them; nobody asks again and again. So do those that come before their
gateway knows any pool.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
from prometheus_client import CollectorRegistry, Gauge, Histogram

from gateway.access import RequestRecord
from gateway.placing import Pool
from scheduler.decision import Decision, Reject, RequestShape

MOST_WAITING = 1_000
"""Requests of one process; whoever comes beyond these is told at once."""
MOST_WAITING_BYTES = 1 << 28
"""And the bodies that they hold meanwhile."""
PLACED_AT_ONCE = 32
"""Of those that one snapshot wakes: all at once would be late for one another's deadlines."""
TURN_S = 0.005
"""How long so many have to be placed before the next ones may, where nobody sees them end."""
WAIT_SECONDS = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 30, 60, 300)


class RankWait:
    """How long a request waits, `wait_s` in all however often and whatever for, and who does; 0: nobody waits.

    `registry` gets its figures.
    """

    def __init__(self, wait_s: float, registry: CollectorRegistry) -> None:
        self._wait_s = wait_s
        text = "Requests that wait until a rank can take them."
        self._waiting_now = Gauge("forebay_gateway_waiting_for_rank_requests", text, registry=registry)
        text = "How long requests that no rank could take waited for one, those that got none or were left too."
        name = "forebay_gateway_rank_wait_seconds"
        self._waited = Histogram(name, text, ["pool"], buckets=WAIT_SECONDS, registry=registry)
        self.waiting = self._waiting_bytes = 0
        self._turns = anyio.Semaphore(PLACED_AT_ONCE)

    async def decide(
        self,
        pool: Pool,
        shape: RequestShape,
        avoid: frozenset[str],
        place: Callable[[], Awaitable[Decision]],
        record: RequestRecord,
    ) -> Decision:
        """What `place` decides, as soon as it is no Reject; the last one when the time is over. Safe to cancel."""
        decision = await place()
        if not isinstance(decision, Reject) or not self.may_wait(record):
            return decision
        since_s = time.monotonic()
        try:
            with self._one_more(record):
                while isinstance(decision, Reject):
                    await pool.rank_comes(shape, avoid)
                    async with self._turns:
                        decision = await place()
        finally:
            self._waited.labels(pool.name).observe(time.monotonic() - since_s)
        return decision

    async def comes(self, pool: Pool, shape: RequestShape, record: RequestRecord) -> None:
        """Wait until the pool has a rank for such a request, or the time is over. Safe to cancel."""
        if self.may_wait(record):
            with self._one_more(record):
                await pool.rank_comes(shape, frozenset())

    async def until(self, there: anyio.Event, record: RequestRecord) -> None:
        """Wait for what has to be there before anything can be placed, as long as for a rank. Safe to cancel."""
        if there.is_set() or not self.may_wait(record):
            return
        with self._one_more(record):
            await there.wait()
            async with self._turns:
                await anyio.sleep(TURN_S)

    async def pause(self, seconds: float, record: RequestRecord) -> None:
        """Wait for so long, but no longer than for a rank. Safe to cancel."""
        with self._one_more(record):
            await anyio.sleep(seconds)

    def may_wait(self, record: RequestRecord) -> bool:
        """Whether a request has time left, and there is room for it among those that wait."""
        fits = self.waiting < MOST_WAITING and self._waiting_bytes + record.held_bytes <= MOST_WAITING_BYTES
        return fits and record.waited_s < self._wait_s

    @contextmanager
    def _one_more(self, record: RequestRecord) -> Iterator[None]:
        """One more waits, until the context is left or its time is over."""
        since_s, held_bytes = time.monotonic(), record.held_bytes
        self.waiting += 1
        self._waiting_bytes += held_bytes
        try:
            with anyio.move_on_after(self._wait_s - record.waited_s), self._waiting_now.track_inprogress():
                yield
        finally:
            self.waiting -= 1
            self._waiting_bytes -= held_bytes
            record.waited_s += time.monotonic() - since_s
