"""DP groups: what the states of all members, on all nodes, say of the group."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.groups import WORD_MS, Groups
from scheduler.loads import FORGOTTEN_MS
from scheduler.messages import RankState
from scheduler.rank_view import RankView
from tests.scheduler.samples import rank

NOW_MS = 60_000


def member(
    name: str, state: RankState = RankState.UP, *, running: int = 0, age_ms: int = 0, silent_ms: int = 0, **heard: Any
) -> RankView:
    known = {"state": state, "running": running, "sampled_ms": NOW_MS - age_ms, "heard_ms": NOW_MS - silent_ms}
    return rank(name, heard=known | heard, dp_group="g")


BUSY = member("busy", running=3)
IDLE = member("idle")
STALLED = member("stalled", RankState.STALLED, running=2)
DOWN = member("down", RankState.DOWN)
LONG_DOWN = member("down", RankState.DOWN, silent_ms=WORD_MS + 1)
LONG_STALLED = member("stalled", RankState.STALLED, silent_ms=WORD_MS + 1)
LONG_DRAINED = member("drained", drained=True, silent_ms=WORD_MS + 1)
SILENT = member("silent", running=3, age_ms=FORGOTTEN_MS + 1)


def broken(members: list[RankView]) -> frozenset[str]:
    groups = Groups(NOW_MS)
    for each in members:
        groups.see([each])
    return groups.broken()


@pytest.mark.parametrize(
    ("members", "is_broken"),
    [
        pytest.param([BUSY, IDLE], False, id="all well"),
        pytest.param([BUSY, DOWN], True, id="one is down"),
        pytest.param([STALLED, BUSY], False, id="one stalls while another moves"),
        pytest.param([STALLED, IDLE], True, id="one stalls and the others look idle"),
        pytest.param([STALLED], True, id="all stall"),
        pytest.param([STALLED, SILENT], True, id="the one that moved has not been heard of for long"),
        pytest.param([LONG_DOWN, BUSY], False, id="the one that was down has not been heard of for long"),
        pytest.param([LONG_STALLED, IDLE], False, id="the one that stalled has not been heard of for long"),
        pytest.param([LONG_DRAINED, BUSY], True, id="one is drained, and silent since"),
        pytest.param([rank("drained", heard={"drained": True}, dp_group="g"), BUSY], True, id="one is drained"),
    ],
)
def test_a_group_is_broken_by_evidence_against_all_of_it(members: list[RankView], is_broken: bool) -> None:
    assert broken(members) == ({"g"} if is_broken else set())


def test_a_rank_in_no_group_breaks_none() -> None:
    assert broken([rank("a", heard={"state": RankState.DOWN})]) == frozenset()
