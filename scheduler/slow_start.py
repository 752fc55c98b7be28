"""Ranks that came back get requests little by little: their caches are cold, and what failed may fail again. Pure.

A rank came back when its breaker closed, or when a life is up that was not there, down or stalled before, in a role
that had other ranks up for as long as the ramp. A pool that starts as a whole does not start slowly. When it came back
stands in its breaker's row, so all gateways hold back alike; an idle rank takes a request at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from scheduler.breaker import RAMP_MS, is_coming_back
from scheduler.decision import UNLIMITED, Candidate
from scheduler.messages import RankState, Role
from scheduler.rank_view import RankView
from scheduler.view import PoolView


def ramped(candidate: Candidate, rank: RankView, pool_ms: float) -> Candidate:
    """The candidate with the caps of a rank that came back: a share of the requests that it runs at most, growing with
    the time, and no more queued than it computes in the time since.
    """
    breaker = rank.breaker
    if breaker is None or not is_coming_back(breaker, pool_ms):
        return candidate
    back_for_ms = max(0.0, pool_ms - breaker.back_ms)
    requests = rank.card.max_num_seqs * back_for_ms / RAMP_MS
    queued_tokens = rank.seen.prefill_tokens_per_s * back_for_ms / 1000
    return msgspec.structs.replace(
        candidate,
        cap_requests=_less(candidate.cap_requests, requests),
        cap_queued_tokens=_less(candidate.cap_queued_tokens, queued_tokens),
    )


def ramped_all(candidates: list[Candidate], ranks: Sequence[RankView], pool_ms: float) -> list[Candidate]:
    """All of them, one for each of these ranks in their order."""
    breakers = [rank.breaker for rank in ranks]
    if not any(breakers):
        return candidates
    return [ramped(each, rank, pool_ms) for each, rank in zip(candidates, ranks, strict=True)]


def _less(cap: float, another: float) -> float:
    return another if cap == UNLIMITED else min(cap, another)


def established(since_ms: Mapping[Role, int], view: PoolView) -> dict[Role, int]:
    """From when on each role has had ranks that can be placed on, without a break, as of this snapshot."""
    return {role: since_ms.get(role, view.pool_ms) for role in Role if view.by_role[role]}


def came_back(before: PoolView, view: PoolView, since_ms: Mapping[Role, int]) -> list[RankView]:
    """The ranks that came up between two snapshots of an epoch; `since_ms` is what is `established`."""
    slow = {role for role, from_ms in since_ms.items() if view.pool_ms - from_ms >= RAMP_MS}
    if not slow:
        return []
    up, known = RankState.UP, before.ranks.get  # a look-up of each costs time where there are thousands
    anew = [
        rank
        for name, rank in view.ranks.items()
        if (was := known(name)) is not rank
        and rank.seen.state is up
        and (was is None or was.seen.state is not up or was.seen.incarnation != rank.seen.incarnation)
    ]
    return [rank for rank in anew if rank.card.role in slow]
