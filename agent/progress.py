"""Whether an engine gets on with its requests, from successive pages of it. Pure.

"Moved" is a step with a token (`vllm:iteration_tokens_total_count`, or the token counters on pages without it), or KV
use that rose: steps of a long chunked prefill give no token, but each takes blocks. A gauge that fell does not count:
aborts alone do that.

An idle engine moves nothing and owes nothing. In a DP group it steps along with dummy batches, which no counter shows.
"""

from __future__ import annotations

import msgspec

from agent.metrics_page import EngineSample


class Progress(msgspec.Struct, frozen=True):
    """When an engine's page was last read, and when it last showed a move or owed none, in monotonic seconds."""

    sampled_at_s: float
    moved_at_s: float
    running: int


def progress(known: Progress | None, before: EngineSample | None, after: EngineSample, sampled_at_s: float) -> Progress:
    """The engine's progress after one more sample."""
    if known is None or before is None or before.running == 0 or moved(before, after):
        return Progress(sampled_at_s, sampled_at_s, after.running)
    return Progress(sampled_at_s, known.moved_at_s, after.running)


def stands_still(own: Progress, stall_s: float) -> bool:
    """Whether requests ran and nothing moved for `stall_s` of samples; time without samples proves nothing."""
    return own.running > 0 and own.sampled_at_s - own.moved_at_s >= stall_s


def moved(before: EngineSample, after: EngineSample) -> bool:
    """Whether a step shows between two samples of one life."""
    return (
        after.steps != before.steps
        or after.generation_tokens != before.generation_tokens
        or after.prompt_tokens != before.prompt_tokens
        or after.kv_usage > before.kv_usage
    )
