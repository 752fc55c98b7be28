"""A pool with two ranks that have just been reported, and time that only the test moves."""

from __future__ import annotations

import pytest

from tests.invariants.bench import Bench, Sample


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.report(Sample("r0"), Sample("r1"))
    return bench
