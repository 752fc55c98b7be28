"""Why a rank is said to be up, stalled, down or gone: all of it is decided here.

A rank goes down on positive evidence only; silence merely ages its last sample. Evidence first makes the health of a
port, that is of all engines behind it (`judge`):

| evidence | the port is |
|---|---|
| an answer | up |
| connection refused | down at once |
| `/health` answers 503 | down at once |
| a broken answer (reset, 5xx, too long, no page of engines) | down at the second in a row |
| silence (timeout, no route) | as it was |

Then the first of these that holds is said of a rank (`verdict`):

| what is known | said |
|---|---|
| no life of it was introduced so far: discovered and, if asked for, warmed up | nothing: unknown is not idle |
| its engine is gone from the port's page | gone |
| its port is down | down |
| it restarted, and its new life is not introduced yet | down, under the old life's name |
| asleep (`vllm:engine_sleep_state{sleep_state="awake"} 0`) | down |
| busy, and nothing moved for `stall_ms` of samples (progress.py) | stalled |
| else | up |

Ranks of a DP group step together over several nodes, whose members are not seen from here, so what follows for a group
from the states of all its members is for its readers to derive (scheduler/groups.py).
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from agent.evidence import Answered, Broken, EngineDead, Evidence, Refused, Silent
from agent.progress import stands_still
from agent.rank_state import RankTrack
from scheduler.messages import RankState

_BROKEN_ANSWERS_BEFORE_DOWN = 2


class PortHealth(msgspec.Struct, frozen=True):
    """What the evidence so far says of a port; `down_because` is empty while it is up.

    `was_refused` is whether nobody listened at some time since the last answer.
    """

    down_because: str = ""
    broken_in_a_row: int = 0
    was_refused: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """What is said of a rank, and why; `because` is empty for one that is up."""

    state: RankState
    because: str = ""


def judge(health: PortHealth, evidence: Evidence) -> PortHealth:
    """The port's health after one more piece of evidence; the first table above."""
    match evidence:
        case Answered():
            return PortHealth()
        case Refused(detail):
            return PortHealth(down_because=detail, was_refused=True)
        case EngineDead(detail):
            return PortHealth(down_because=detail, was_refused=health.was_refused)
        case Broken(detail):
            broken = health.broken_in_a_row + 1
            down_because = detail if broken >= _BROKEN_ANSWERS_BEFORE_DOWN else health.down_because
            return PortHealth(down_because, broken, health.was_refused)
        case Silent():
            return health
    assert_never(evidence)


def verdict(port: PortHealth, track: RankTrack, stall_ms: int) -> Verdict:
    """What is said of a rank that was introduced; the second table above."""
    if not track.present:
        return Verdict(RankState.GONE, "its engine left the page")
    if port.down_because:
        return Verdict(RankState.DOWN, port.down_because)
    if not track.is_introduced:
        return Verdict(RankState.DOWN, "restarted")
    if not track.sample.awake:
        return Verdict(RankState.DOWN, "asleep")
    if stands_still(track.progress, stall_ms / 1e3):
        running = track.sample.running
        return Verdict(RankState.STALLED, f"no progress for {stall_ms} ms with {running} requests running")
    return Verdict(RankState.UP)
