"""What a rank's rows amount to at a given pool time: the loads that a cost is computed from. Pure.

The formulas are those of scripts/loads.lua, which decides; here they serve the shortlist, the degraded mode and people.
The contract suite holds the two together.
"""

from __future__ import annotations

import msgspec

from scheduler.rows import BookLoad, SeenRank

FRESH_MS = 2_000
FORGOTTEN_MS = 10_000


class Loads(msgspec.Struct, frozen=True):
    """The loads a cost is computed from (docs/design.md, "What load is")."""

    queued_tokens: float
    requests: float
    kv_tokens: float


def loads_at(book: BookLoad, seen: SeenRank, now_ms: float) -> Loads:
    """The rank's loads at pool time `now_ms`: progress credited, what the engine said faded by its age."""
    queued_tokens: float = book.queued_tokens
    if book.prompts and now_ms > book.progress_since_ms:
        elapsed_s = (now_ms - book.progress_since_ms) / 1000
        queued_tokens -= min(elapsed_s * seen.prefill_tokens_per_s, queued_tokens / book.prompts)
    requests: float = book.requests
    kv_tokens: float = book.unseen_kv_tokens + book.engine_kv_tokens + book.growth_tokens
    # A gateway does this for up to some hundred ranks a request, most of which serve nobody else.
    if seen.foreign_requests or seen.foreign_kv_tokens:
        age_ms = now_ms - seen.sampled_ms
        trust = max(0.0, min(1.0, (FORGOTTEN_MS - age_ms) / (FORGOTTEN_MS - FRESH_MS)))
        requests += trust * seen.foreign_requests
        kv_tokens += trust * seen.foreign_kv_tokens
    return Loads(queued_tokens, requests, kv_tokens if kv_tokens > 0 else 0.0)
