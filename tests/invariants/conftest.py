"""A pool with two ranks that have just been reported, and time that only the test moves."""

from __future__ import annotations

import pytest

from tests.invariants.lossy_pool import LossyPool, Sample


@pytest.fixture
def pool() -> LossyPool:
    pool = LossyPool()
    pool.report(Sample("r0"), Sample("r1"))
    return pool
