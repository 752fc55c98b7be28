"""An ask as place.lua and rebind.lua read it: one JSON array, with a column for each field of its candidates. Pure.

Redis parses it on the one core that places all requests of a pool. There each table costs as much as several values, so
there is one for all columns, and those that say nothing are left out. scripts/ask.lua reads it in this order.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scheduler.decision import NO_GROUP, UNLIMITED, Ask, Candidate


def ask_json(ask: Ask) -> bytes:
    """The ask; its candidates are the singles, then prefills, then decodes, as the reply counts their positions."""
    candidates = (*ask.singles, *ask.prefills, *ask.decodes)
    groups, group_prices, caps = _groups(candidates), _group_prices(candidates), _caps(candidates)
    asked = [
        *(ask.prompt_tokens, ask.output_tokens, len(ask.singles), len(ask.prefills), len(candidates)),
        *(ask.transfer_s, ask.spill, ask.tie_s, ask.tie_break, ask.explain),
        *(bool(groups), bool(group_prices), bool(caps)),
        *[each.rank for each in candidates],
        *[f"{each.rank} {each.incarnation}" for each in candidates],
        *[each.place_class for each in candidates],
        *[each.base_s for each in candidates],
        *[each.per_queued_token_s for each in candidates],
        *[each.per_request_s for each in candidates],
        *[each.per_kv_token_s for each in candidates],
        *[each.cap_kv_tokens for each in candidates],
        *[each.uncached_tokens for each in candidates],
        *(*groups, *group_prices, *caps),
    ]
    return msgspec.json.encode(asked)


def _groups(candidates: Sequence[Candidate]) -> list[str]:
    """The column of DP groups, where one of the candidates is in one."""
    groups = [each.group for each in candidates]
    return [] if groups.count(NO_GROUP) == len(groups) else groups


def _group_prices(candidates: Sequence[Candidate]) -> list[float]:
    """The columns of what loads of DP groups cost, where they cost anything."""
    queued = [each.per_group_queued_token_s for each in candidates]
    requests = [each.per_group_request_s for each in candidates]
    kv = [each.per_group_kv_token_s for each in candidates]
    return [*queued, *requests, *kv] if any(queued) or any(requests) or any(kv) else []


def _caps(candidates: Sequence[Candidate]) -> list[float]:
    """The columns of caps but for KV, where there are any."""
    caps = [*[each.cap_queued_tokens for each in candidates], *[each.cap_requests for each in candidates]]
    return [] if caps.count(UNLIMITED) == len(caps) else caps
