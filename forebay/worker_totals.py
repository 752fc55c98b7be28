"""What the workers of a gateway have counted together, those that have ended included.

It is kept by their supervisor, which outlives them. A page shows no less than one before it did: what a worker said for
the last page stays counted when it ends. What it counted since is lost with it, as with any process that is killed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import anyio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from forebay.worker import Worker
from gateway.families import Family, families_of, lasting, metrics_of, total_of, without_unknown_ranks


class WorkerTotals:
    """`living` tells which workers there are now."""

    def __init__(self, living: Callable[[], Collection[Worker]]) -> None:
        self._living = living
        self._ended: tuple[Family, ...] = ()
        self._restarts = 0

    def retire(self, worker: Worker) -> None:
        """A worker has ended; it is no longer among the living."""
        self._ended = total_of([self._ended, lasting(worker.counted)])

    def restarted(self) -> None:
        """Another worker takes the place of one that ended."""
        self._restarts += 1

    async def page(self) -> bytes:
        """What /metrics shows, whichever worker is asked."""
        async with anyio.create_task_group() as tasks:
            for worker in self._living():
                tasks.start_soon(worker.count, name=f"count of {worker.name}")
        living = [worker.counted for worker in self._living()]
        self._ended = without_unknown_ranks(self._ended, total_of(living))
        own = families_of(self._own())
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Shown(total_of([*living, self._ended, own])))
        return generate_latest(registry)

    def _own(self) -> list[Metric]:
        serving = sum(worker.is_ready for worker in self._living())
        return [
            GaugeMetricFamily("forebay_gateway_workers", "Processes that serve on this port.", serving),
            CounterMetricFamily(
                "forebay_gateway_worker_restarts", "Workers started in place of one that ended.", self._restarts
            ),
        ]


class _Shown(Collector):
    def __init__(self, families: tuple[Family, ...]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return list(metrics_of(self._families))
