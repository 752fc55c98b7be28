"""Why a rank is said to be up, stalled, down or gone: all of it is decided here. Pure.

A rank goes down on positive evidence only; silence merely ages its last sample. Evidence first makes the health of a
port, that is of all engines behind it (`judge`):

| evidence | the port is |
|---|---|
| an answer | up |
| connection refused | down at once |
| `/health` answers 503 | down at once |
| a broken answer (reset, 5xx, too long, no page of engines) | down at the second in a row |
| connections taken and not answered for `stall_ms`, nothing else between | stalled, until an answer |
| silence (no route, no connection in time) | as it was |

Then the first of these that holds is said of a rank (`verdict`):

| what is known | said |
|---|---|
| no life of it was introduced so far: discovered and, if asked for, warmed up | nothing: unknown is not idle |
| its engine is gone from the port's page | gone |
| its port is down | down |
| it restarted, and its new life is not introduced yet | down, under the old life's name |
| asleep (`vllm:engine_sleep_state{sleep_state="awake"} 0`) | down |
| its port is stalled | stalled |
| busy, and nothing moved for `stall_ms` of samples (progress.py) | stalled |
| else | up |

Ranks of a DP group step together over several nodes, whose members are not seen from here, so what follows for a group
from the states of all its members is for its readers to derive (scheduler/groups.py).
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from agent.evidence import Answered, Broken, EngineDead, Evidence, Healthy, Refused, Silent, Unanswered
from agent.progress import stands_still
from agent.rank_state import RankTrack
from scheduler.messages import RankState

_BROKEN_ANSWERS_BEFORE_DOWN = 2


class PortHealth(msgspec.Struct, frozen=True):
    """What the evidence so far says of a port; `down_because` and `stalled_because` are empty while it is up.

    `was_refused` is whether nobody listened at some time since the last answer. `unanswered_from_s` is the monotonic
    time of the first of the looks in a row whose connection was taken and not answered.
    """

    down_because: str = ""
    broken_in_a_row: int = 0
    was_refused: bool = False
    stalled_because: str = ""
    unanswered_from_s: float | None = None


class Verdict(msgspec.Struct, frozen=True):
    """What is said of a rank, and why; `because` is empty for one that is up."""

    state: RankState
    because: str = ""


def judge(health: PortHealth, evidence: Evidence, stall_s: float) -> PortHealth:
    """The port's health after one more piece of evidence; the first table above."""
    match evidence:
        case Answered() | Healthy():
            return PortHealth()
        case Refused(detail):
            return PortHealth(down_because=detail, was_refused=True)
        case EngineDead(detail):
            return PortHealth(down_because=detail, was_refused=health.was_refused)
        case Broken(detail):
            broken = health.broken_in_a_row + 1
            down_because = detail if broken >= _BROKEN_ANSWERS_BEFORE_DOWN else health.down_because
            return msgspec.structs.replace(
                health, down_because=down_because, broken_in_a_row=broken, unanswered_from_s=None
            )
        case Unanswered(detail, from_s, until_s):
            first_s = from_s if health.unanswered_from_s is None else health.unanswered_from_s
            is_stalled = until_s - first_s >= stall_s
            stalled_because = f"connections are taken and not answered ({detail})" if is_stalled else ""
            return msgspec.structs.replace(
                health, stalled_because=stalled_because or health.stalled_because, unanswered_from_s=first_s
            )
        case Silent():
            return msgspec.structs.replace(health, unanswered_from_s=None)
    assert_never(evidence)


def verdict(port: PortHealth, track: RankTrack, stall_ms: int) -> Verdict:
    """What is said of a rank that was introduced; the second table above."""
    if not track.present:
        return Verdict(RankState.GONE, "its engine left the page")
    if because := _why_down(port, track):
        return Verdict(RankState.DOWN, because)
    if because := _why_stalled(port, track, stall_ms):
        return Verdict(RankState.STALLED, because)
    return Verdict(RankState.UP)


def _why_down(port: PortHealth, track: RankTrack) -> str:
    if port.down_because:
        return port.down_because
    if not track.is_introduced:
        return "restarted"
    return "" if track.sample.awake else "asleep"


def _why_stalled(port: PortHealth, track: RankTrack, stall_ms: int) -> str:
    if port.stalled_because:
        return port.stalled_because
    if stands_still(track.progress, stall_ms / 1e3):
        return f"no progress for {stall_ms} ms with {track.sample.running} requests running"
    return ""
