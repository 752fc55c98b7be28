"""What follows from evidence: a rank goes down on positive evidence only, silence merely ages its last sample.

Of a port, that is of all engines behind it:

| evidence | verdict |
|---|---|
| connection refused | down at once |
| `/health` answers 503 | down at once |
| a broken answer (reset, 5xx, no page of engines) | down at the second in a row |
| silence (timeout, no route) | none: what held before still holds, the sample ages |
| an answer | up, if nothing below speaks against it |

Of one engine, from its page:

| evidence | verdict |
|---|---|
| asleep (`vllm:engine_sleep_state{sleep_state="awake"} 0`) | down |
| requests run, and over `stall_ms` of samples nothing moved | down, in a DP group only if no member here moved |
| its label is gone from the page | gone |

"Moved" is a step with a token (`vllm:iteration_tokens_total_count`, or the token counters on pages without it), or KV
use that rose: steps of a long chunked prefill give no token, but each takes blocks. A gauge that fell does not count:
aborts alone do that.

Ranks of a DP group step together, so a member that stands still while another moves is not evidence against the
group, and readers derive the group's health from its members' states. No member moved means: every member of the
group on this node with running requests stood still that long. Idle members say nothing either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import msgspec

from agent.evidence import Answered, Broken, EngineDead, Evidence, Refused, Silent
from agent.metrics_page import EngineSample

_BROKEN_ANSWERS_BEFORE_DOWN = 2


class PortHealth(msgspec.Struct, frozen=True):
    """What the evidence so far says of a port; `down_because` is empty while it is up."""

    down_because: str = ""
    broken_in_a_row: int = 0


class Progress(msgspec.Struct, frozen=True):
    """When an engine's page was last read and when it last showed progress, in monotonic seconds."""

    sampled_at_s: float
    moved_at_s: float
    running: int


def judge(health: PortHealth, evidence: Evidence) -> PortHealth:
    """The port's health after one more piece of evidence; the first table above."""
    match evidence:
        case Answered():
            return PortHealth()
        case Refused(detail) | EngineDead(detail):
            return PortHealth(down_because=detail)
        case Broken(detail):
            broken = health.broken_in_a_row + 1
            down_because = detail if broken >= _BROKEN_ANSWERS_BEFORE_DOWN else health.down_because
            return PortHealth(down_because=down_because, broken_in_a_row=broken)
        case Silent():
            return health
    assert_never(evidence)


def progress(known: Progress | None, before: EngineSample | None, after: EngineSample, sampled_at_s: float) -> Progress:
    """The engine's progress after one more sample; an idle engine owes none."""
    if known is None or before is None or before.running == 0 or _moved(before, after):
        return Progress(sampled_at_s, sampled_at_s, after.running)
    return Progress(sampled_at_s, known.moved_at_s, after.running)


def stands_still(own: Progress, stall_s: float) -> bool:
    """Whether requests ran and nothing moved for `stall_s` of samples; time without samples proves nothing."""
    return own.running > 0 and own.sampled_at_s - own.moved_at_s >= stall_s


def is_stalled(own: Progress, group: Sequence[Progress], stall_s: float) -> bool:
    """Whether an engine is down for want of progress; `group` has the members of its DP group on this node."""
    return stands_still(own, stall_s) and all(stands_still(member, stall_s) for member in group if member.running > 0)


def _moved(before: EngineSample, after: EngineSample) -> bool:
    return (
        after.steps != before.steps
        or after.generation_tokens != before.generation_tokens
        or after.prompt_tokens != before.prompt_tokens
        or after.kv_usage > before.kv_usage
    )
