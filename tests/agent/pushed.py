"""Pushes as stat loggers write them, and what the agent makes of them."""

from __future__ import annotations

from typing import Any

import msgspec

from agent.stat_push import EnginePush, StatPush, merged

START_MS = 1_000_000
"""When the process of samples.answered() began, 1000 s since the epoch."""


def push_fields(**changes: Any) -> dict[str, Any]:
    """A datagram's fields; an idle engine that had steps."""
    fields: dict[str, Any] = {
        "v": 1,
        "pid": 7,
        "start_ms": START_MS,
        "ports": [9000],
        "api_index": 0,
        "api_count": 1,
        "engine": 0,
        "seq": 0,
        "dropped": 0,
        "at_ns": 5_000_000_000,
        "load_at_ns": 5_000_000_000,
        "awake": 1,
        "awake_at_ns": 0,
        "running": 0,
        "waiting": 0,
        "deferred": 0,
        "kv_usage": 0.0,
        "steps": 0,
        "prompt_tokens": 0,
        "local_tokens": 0,
        "generation_tokens": 0,
        "preemptions": 0,
        "prefix_queries": 0,
        "prefix_hits": 0,
        "external_queries": 0,
        "external_hits": 0,
        "first_tokens": 0,
        "first_token_s": 0.0,
        "finished": 0,
        "finished_computed_tokens": 0,
        "prefill_s": 0.0,
    }
    assert changes.keys() <= fields.keys()
    return fields | changes


def stat_push(**changes: Any) -> StatPush:
    return msgspec.convert(push_fields(**changes), StatPush)


def engine_push(at_s: float = 5.0, **changes: Any) -> EnginePush:
    """What one process pushed at this monotonic time."""
    at_ns = round(at_s * 1e9)
    push = merged([stat_push(at_ns=at_ns, load_at_ns=at_ns, **changes)])
    assert push is not None
    return push
