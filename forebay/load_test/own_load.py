"""What a load test's own process spends, and how late it is: whether its figures are the server's or its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from forebay.load_test.figures import Spread, spread

TICK_S = 0.02
MOST_CPU = 0.8
MOST_LATE_SHARE = 0.1
LATE_MS = 5.0
"""Times are told in milliseconds, and no server's are exact to this."""


class OwnLoad(msgspec.Struct, frozen=True, kw_only=True):
    """`cores`: CPU time by wall time, of one process. `late`: how late its event loop was.

    `arrivals_late`: how late requests were sent that had not to wait for --max-concurrency, None where none had a time
    of its own; so many others were `held`.
    """

    cores: float
    late: Spread | None
    arrivals_late: Spread | None
    held: int

    def doubts(self, ttft: Spread | None) -> str:
        """Why the figures are the client's rather than the server's; "" if they are not."""
        if self.cores > MOST_CPU:
            return f"the client used {self.cores:.2f} of the one core it can use: the figures are the client's"
        late_ms = max(each.p99 if each else 0.0 for each in (self.late, self.arrivals_late))
        if ttft and late_ms > max(LATE_MS, MOST_LATE_SHARE * ttft.p50):
            return f"the client was up to {late_ms:.1f} ms late (p99): times are the client's by that much"
        return ""


class Watch:
    """What one stretch of time has cost; filled by `watching`."""

    def __init__(self) -> None:
        self._late_s: list[float] = []
        self._cpu_s = 0.0
        self._wall_s = 0.0

    async def run(self) -> None:
        """Notes how late the loop is, until cancelled."""
        cpu_s, wall_s = time.process_time(), time.monotonic()
        try:
            while True:
                due_s = time.monotonic() + TICK_S
                await asyncio.sleep(TICK_S)
                self._late_s.append(max(0.0, time.monotonic() - due_s))
        finally:
            self._cpu_s, self._wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s

    def own_load(self, arrivals_late_s: list[float], held: int) -> OwnLoad:
        """After its end."""
        return OwnLoad(
            cores=self._cpu_s / self._wall_s if self._wall_s else 0.0,
            late=spread(self._late_s),
            arrivals_late=spread(arrivals_late_s),
            held=held,
        )


@asynccontextmanager
async def watching() -> AsyncIterator[Watch]:
    """Watch this process during a `with` block."""
    watch = Watch()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watch.run(), name="watch")
        # It is to begin before what it watches.
        await asyncio.sleep(0)
        yield watch
        task.cancel()
