"""Invariant 2, at random: an engine whose counts come late, and what the ledger makes of them.

Ours reach the engine up to 800 ms after their dispatch, aborts leave it 1 s after their release, and other routers'
requests come and go. Whatever the ages of the samples: the load is never below the ledger's own; what it says beyond
that is at most what others had in the engine at some moment of the last 2 s, plus what lingered there then, and no less
than the least they had, less what was still on its way.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from tests.invariants.asks import ask, record
from tests.invariants.explained import explain
from tests.invariants.lossy_pool import LossyPool, Sample
from tests.invariants.profiles import examples
from tests.invariants.raw_gateway import RawGateway
from tests.samples import single

STEP_MS = 20
LATE_MS = 800
LINGER_MS = 1_000
WINDOW_MS = 2_000


class Moment(NamedTuple):
    """What was in the engine when a sample was taken, beside ours that are where the ledger says."""

    foreign: int
    on_the_way: int
    lingering: int
    dispatched: int

    @property
    def counted(self) -> int:
        """What the engine reports."""
        return self.foreign + self.dispatched - self.on_the_way + self.lingering


deeds = st.one_of(
    st.tuples(st.just("dispatch"), st.integers(0, LATE_MS)),
    st.tuples(st.just("abort"), st.integers(0, LINGER_MS)),
    st.tuples(st.just("others"), st.integers(0, 6)),
    st.tuples(st.just("report"), st.integers(0, 45)),
    st.tuples(st.just("wait"), st.integers(1, 20)),
)


@examples(150)
@given(st.lists(deeds, min_size=20, max_size=80))
def test_the_requests_load_is_as_near_the_truth_as_the_design_promises(script: list[tuple[str, int]]) -> None:
    trial = Trial()
    for deed, amount in script:
        getattr(trial, deed)(amount)


class Trial:
    """One rank, its engine, a gateway that uses it and one that looks."""

    def __init__(self) -> None:
        self.pool = LossyPool()
        self.pool.report(Sample("r0"), Sample("r1"))
        self.gateway = RawGateway(self.pool, "a").join()
        self.watcher = RawGateway(self.pool, "b").join()
        self.ours: list[tuple[int, int]] = []
        self.leaves: list[int] = []
        self.foreign, self.step = 0, 0
        self.moments = [self._moment()]
        self.heard = [(0, self.moments[0])]

    def dispatch(self, late_ms: int) -> None:
        self.ours.append((self.gateway.adopt(record(1, "m r0")), self._now + late_ms))
        self._step()

    def abort(self, lingers_ms: int) -> None:
        """The oldest of ours; one that has not reached the engine never will."""
        if self.ours:
            reservation, arrives = self.ours.pop(0)
            self.gateway.release(reservation)
            if arrives <= self._now:
                self.leaves.append(self._now + lingers_ms)
        self._step()

    def others(self, requests: int) -> None:
        self.foreign = requests
        self._step()

    def report(self, steps_old: int) -> None:
        """The engine as it was some steps ago, at most."""
        age = min(steps_old, len(self.moments) - 1)
        moment = self.moments[-1 - age]
        self.pool.report(Sample("r0", age_ms=age * STEP_MS, requests=moment.counted), Sample("r1"))
        self.heard.append((self._now, moment))
        self._check()
        self._step()

    def _check(self) -> None:
        seen = explain(self.watcher, ask(single("r1"), single("r0", 1e6)))[1]
        assert seen is not None
        beyond_own = seen.requests - len(self.ours)
        window = [moment for at, moment in self.heard if at >= self._now - WINDOW_MS]
        assert beyond_own <= min(moment.foreign + moment.lingering for moment in window)
        assert beyond_own >= max(0, min(moment.foreign - moment.on_the_way for moment in window))

    def wait(self, steps: int) -> None:
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        self.moments[-1] = self._moment()
        self.step += 1
        self.pool.store.now_ms += STEP_MS
        if self.step % 20 == 0:
            self.gateway.renew()
            self.watcher.renew()
        self.moments.append(self._moment())

    def _moment(self) -> Moment:
        on_the_way = sum(arrives > self._now for _, arrives in self.ours)
        lingering = sum(leaves > self._now for leaves in self.leaves)
        return Moment(self.foreign, on_the_way, lingering, len(self.ours))

    @property
    def _now(self) -> int:
        return self.step * STEP_MS
