"""Which ranks breakers leave out: never more than half of those of a role that are up. Pure.

The least bad return. What all gateways read of breakers comes first, so that by one snapshot all leave out the same;
what a gateway doubts for itself has what is left of the half. A single rank of a role is never left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from scheduler.breaker import BreakerState
from scheduler.messages import Role
from scheduler.rank_view import RankView
from scheduler.view import PoolView

NOBODY: frozenset[str] = frozenset()


class LeftOut(NamedTuple):
    """The ranks that are left out, by name, and all whose breaker is half-open, whether they are left out or not."""

    out: frozenset[str]
    half_open: frozenset[str]


NONE = LeftOut(NOBODY, NOBODY)


def left_out(view: PoolView, doubts: Mapping[str, int], pool_ms: float, *, alone: bool = False) -> LeftOut:
    """At a pool time; `doubts` are a gateway's own, with how many failures it saw of each.

    A gateway that is `alone` cannot ask for a ticket, so it tries half-open ranks as any others.
    """
    if not doubts and not view.with_breakers:
        return NONE
    out: set[str] = set()
    half_open: set[str] = set()
    for role in Role:
        up = view.by_role[role]
        tripped = [each for each in view.with_breakers if each in up and _is_out(each, pool_ms, alone=alone)]
        half_open.update(each.card.rank for each in tripped if _state(each, pool_ms) is BreakerState.HALF_OPEN)
        shared = [each.card.rank for each in sorted(tripped, key=lambda each: _badness(each, pool_ms), reverse=True)]
        own = sorted((rank.card.rank for rank in up.named(doubts)), key=lambda name: (-doubts[name], name))
        out.update([*shared, *(name for name in own if name not in shared)][: len(up) // 2])
    return LeftOut(frozenset(out), frozenset(half_open))


def _state(rank: RankView, pool_ms: float) -> BreakerState:
    return rank.breaker.state(pool_ms) if rank.breaker else BreakerState.CLOSED


def _is_out(rank: RankView, pool_ms: float, *, alone: bool) -> bool:
    state = _state(rank, pool_ms)
    return state is BreakerState.OPEN or (state is BreakerState.HALF_OPEN and not alone)


def _badness(rank: RankView, pool_ms: float) -> tuple[bool, int, int, str]:
    breaker = rank.breaker
    assert breaker is not None, "only ranks with a breaker are left out by it"
    failures = sum(each.badly for each in breaker.heard)
    return _state(rank, pool_ms) is BreakerState.OPEN, max(1, breaker.trips), failures, rank.card.rank
