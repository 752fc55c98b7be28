"""A short chaos run on real processes: what `make chaos` does for longer."""

from pathlib import Path

import pytest

from tests.chaos.partitions import partitions
from tests.chaos.settings import ChaosSettings, Stage
from tests.chaos.stage_run import run_stage
from tests.namespace import hindrance
from tests.servers import BINARY, MISSING

KINDS = ("rank-kill", "rank-partition", "gateway-kill", "agent-kill", "store-kill", "store-clock")
"""Two of ranks: three that follow on each other in a second can take all three placements of a request."""
SHORT = ChaosSettings(
    seed=8,
    requests=60,
    rate=15.0,
    rounds=1,
    every_s=0.5,
    overlap=4,
    kinds=KINDS,
    gateways=2,
    ranks=4,
    agents=2,
)


@pytest.mark.skipif(BINARY is None, reason=MISSING)
async def test_no_promise_is_broken_while_each_kind_of_part_dies(tmp_path: Path) -> None:
    said: list[str] = []
    report = await run_stage(tmp_path, Stage("mixed", "alone"), SHORT, SHORT.requests, SHORT.faults, said.append)
    assert report.partitions == partitions(None, hindrance(), theirs=False)
    assert sorted([*(fault.kind for fault in report.faults), *report.left_out]) == sorted(KINDS)
    assert len(report.outcomes) >= SHORT.requests
    assert report.broken() == [], "\n".join(said)
