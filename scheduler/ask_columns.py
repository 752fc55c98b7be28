"""An ask as place.lua and rebind.lua read it: JSON, with a column for each field of its candidates. Pure.

Redis parses it on the one core that places all requests of a pool. Columns are fewer tables for it than rows are, and
those that say nothing are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from scheduler.decision import NO_GROUP, UNLIMITED, Ask, Candidate


def ask_json(ask: Ask) -> bytes:
    """The ask; its candidates are the singles, then prefills, then decodes, as the reply counts their positions."""
    candidates = (*ask.singles, *ask.prefills, *ask.decodes)
    asked: dict[str, Any] = {
        "prompt_tokens": ask.prompt_tokens,
        "output_tokens": ask.output_tokens,
        "singles": len(ask.singles),
        "prefills": len(ask.prefills),
        "ranks": [each.rank for each in candidates],
        "lives": [f"{each.rank} {each.incarnation}" for each in candidates],
        "place_classes": [each.place_class for each in candidates],
        "base_s": [each.base_s for each in candidates],
        "per_queued_token_s": [each.per_queued_token_s for each in candidates],
        "per_request_s": [each.per_request_s for each in candidates],
        "per_kv_token_s": [each.per_kv_token_s for each in candidates],
        "cap_kv_tokens": [each.cap_kv_tokens for each in candidates],
        "uncached_tokens": [each.uncached_tokens for each in candidates],
        "transfer_s": ask.transfer_s,
        "spill": ask.spill,
        "tie_s": ask.tie_s,
        "tie_break": ask.tie_break,
        "explain": ask.explain,
    }
    return msgspec.json.encode(asked | _rare(candidates))


def _rare(candidates: Sequence[Candidate]) -> dict[str, list[Any]]:
    """The columns of DP groups and their prices, and of caps but for KV, where one of the candidates has such."""
    rare: dict[str, list[Any]] = {}
    if any(each.group != NO_GROUP for each in candidates):
        rare["groups"] = [each.group for each in candidates]
    if any(
        each.per_group_queued_token_s or each.per_group_request_s or each.per_group_kv_token_s for each in candidates
    ):
        rare["per_group_queued_token_s"] = [each.per_group_queued_token_s for each in candidates]
        rare["per_group_request_s"] = [each.per_group_request_s for each in candidates]
        rare["per_group_kv_token_s"] = [each.per_group_kv_token_s for each in candidates]
    if any(each.cap_queued_tokens != UNLIMITED or each.cap_requests != UNLIMITED for each in candidates):
        rare["cap_queued_tokens"] = [each.cap_queued_tokens for each in candidates]
        rare["cap_requests"] = [each.cap_requests for each in candidates]
    return rare
