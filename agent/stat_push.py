"""Reads what vLLM's stat logger pushes (vllm_plugin/ writes it, docs/telemetry.md describes it). Pure.

Fields that are not known are skipped, so a newer stat logger may say more; a version that is not known is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agent.errors import PushError
from agent.metrics_page import EngineSample

LONGEST_BYTES = 2_048
"""One has some 600."""
_MOST_PROCESSES = 1_024

Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Seconds = Annotated[float, Meta(ge=0, le=1e15)]
Port = Annotated[int, Meta(ge=1, le=65_535)]


class StatPush(msgspec.Struct, frozen=True, kw_only=True):
    """One engine as one API server process knows it: gauges of the last report to it, sums since the process began.

    The process began at `start_ms` since the epoch (0: not known), listens on `ports`, and is one of `api_count` that
    stand before the engine. `at_ns` is when the engine last reported to it, `load_at_ns` when the gauges came with
    that, `awake_at_ns` when it fell asleep or woke up; all on the host's monotonic clock and 0 for never.
    """

    v: Literal[1]
    pid: Count
    start_ms: Count
    ports: Annotated[tuple[Port, ...], Meta(max_length=16)]
    api_index: Annotated[int, Meta(ge=0, lt=_MOST_PROCESSES)]
    api_count: Annotated[int, Meta(ge=1, le=_MOST_PROCESSES)]
    engine: Annotated[int, Meta(ge=0, le=1_000_000)]
    seq: Count
    at_ns: Count
    load_at_ns: Count
    awake: Annotated[int, Meta(ge=0, le=1)]
    awake_at_ns: Count = 0
    running: Count
    waiting: Count
    deferred: Count
    kv_usage: Annotated[float, Meta(ge=0, le=1)]
    steps: Count
    prompt_tokens: Count
    local_tokens: Count
    generation_tokens: Count
    prefix_queries: Count
    prefix_hits: Count
    external_hits: Count
    first_tokens: Count
    first_token_s: Seconds
    finished: Count
    finished_computed_tokens: Count
    prefill_s: Seconds


_DECODER = msgspec.json.Decoder(StatPush)


def read_push(datagram: bytes) -> StatPush:
    """What a datagram says. Raises PushError where it is none of ours."""
    if len(datagram) > LONGEST_BYTES:
        raise PushError(f"it is longer than {LONGEST_BYTES} bytes")
    try:
        return _DECODER.decode(datagram)
    except (ValueError, RecursionError) as error:
        raise PushError(str(error)) from error


class EnginePush(msgspec.Struct, frozen=True):
    """What all processes before one engine pushed, at monotonic seconds; `start_ms` is None where they are several."""

    start_ms: int | None
    at_s: float
    sample: EngineSample


def merged(pushes: Sequence[StatPush]) -> EnginePush | None:
    """One engine's load, from the last push of each process before it; None while any of them has not been heard.

    The engine reports each step to one of the processes, each token to the one that has the request, and sleep to the
    one that was asked for it: so the newest gauges hold, and the sums add up. What only a page tells is left open.
    """
    if not pushes or len(pushes) != pushes[0].api_count:
        return None
    newest = max(pushes, key=lambda push: push.load_at_ns)
    external_hits = sum(push.external_hits for push in pushes)
    sample = EngineSample(
        engine=str(newest.engine),
        running=newest.running,
        waiting=newest.waiting + newest.deferred,
        kv_usage=newest.kv_usage,
        steps=sum(push.steps for push in pushes),
        prompt_tokens=sum(push.prompt_tokens for push in pushes),
        local_tokens=sum(push.local_tokens for push in pushes),
        first_tokens=sum(push.first_tokens for push in pushes),
        first_token_s=sum(push.first_token_s for push in pushes),
        generation_tokens=sum(push.generation_tokens for push in pushes),
        prefill_requests=sum(push.finished for push in pushes),
        prefill_tokens=sum(push.finished_computed_tokens for push in pushes) - external_hits,
        prefill_s=sum(push.prefill_s for push in pushes),
        prefix_queries=sum(push.prefix_queries for push in pushes),
        prefix_hits=sum(push.prefix_hits for push in pushes),
        external_hits=external_hits,
        created_s=None,
        awake=bool(max(pushes, key=lambda push: push.awake_at_ns).awake),
        cache=None,
    )
    start_ms = newest.start_ms if newest.api_count == 1 else None
    return EnginePush(start_ms, max(push.at_ns for push in pushes) / 1e9, sample)
