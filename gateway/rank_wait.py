"""Requests that no rank can take now wait for one: a pool whose ranks, or whose agent, restart has some in a moment.

Snapshots wake them, those that bring a rank for them; nobody asks again and again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio
from prometheus_client import CollectorRegistry, Gauge, Histogram

from gateway.placing import Pool
from scheduler.decision import Decision, Reject, RequestShape

MOST_WAITING = 1_000
"""Requests of one process, which hold their bodies meanwhile; whoever comes beyond these is told at once."""
PLACED_AT_ONCE = 32
"""Of those that one snapshot wakes: all at once would be late for one another's deadlines."""
WAIT_SECONDS = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 30, 60, 300)


class RankWait:
    """How long a request waits for a rank, `wait_s`, and who does; 0: nobody waits. `registry` gets its figures."""

    def __init__(self, wait_s: float, registry: CollectorRegistry) -> None:
        self._wait_s = wait_s
        text = "Requests that wait until a rank can take them."
        self._waiting_now = Gauge("forebay_gateway_waiting_for_rank_requests", text, registry=registry)
        text = "How long requests that no rank could take waited for one, those that got none or were left too."
        name = "forebay_gateway_rank_wait_seconds"
        self._waited = Histogram(name, text, ["pool"], buckets=WAIT_SECONDS, registry=registry)
        self._waiting = 0
        self._turns = anyio.Semaphore(PLACED_AT_ONCE)

    async def decide(
        self, pool: Pool, shape: RequestShape, avoid: frozenset[str], place: Callable[[], Awaitable[Decision]]
    ) -> Decision:
        """What `place` decides, as soon as it is no Reject; the last one when the time is over. Safe to cancel."""
        decision = await place()
        if not isinstance(decision, Reject) or not self._wait_s or self._waiting >= MOST_WAITING:
            return decision
        since_s = time.monotonic()
        self._waiting += 1
        try:
            with anyio.move_on_after(self._wait_s), self._waiting_now.track_inprogress():
                while isinstance(decision, Reject):
                    await pool.rank_comes(shape, avoid)
                    async with self._turns:
                        decision = await place()
        finally:
            self._waiting -= 1
            self._waited.labels(pool.name).observe(time.monotonic() - since_s)
        return decision
