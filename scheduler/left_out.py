"""Which ranks breakers leave out: never more than half of those of a role that are up. Pure.

The least bad return. What all gateways read of breakers comes first, so that by one snapshot all leave out the same;
what a gateway doubts for itself has what is left of the half. A single rank of a role is never left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    tripped = sorted(_tripped(view, pool_ms, alone=alone), reverse=True)
    for role in Role:
        up = view.by_role[role]
        shared = [each for each in tripped if each.view in up]
        half_open.update(each.rank for each in shared if not each.is_open)
        names = [each.rank for each in shared]
        own = sorted((rank.card.rank for rank in up.named(doubts)), key=lambda name: (-doubts[name], name))
        out.update([*names, *(name for name in own if name not in names)][: len(up) // 2])
    return LeftOut(frozenset(out), frozenset(half_open))


class _Tripped(NamedTuple):
    """A rank that its breaker would leave out; the larger, the worse it is."""

    is_open: bool
    trips: int
    failures: int
    rank: str
    view: RankView


def _tripped(view: PoolView, pool_ms: float, *, alone: bool) -> Iterator[_Tripped]:
    for each in view.with_breakers:
        breaker = each.breaker
        state = breaker.state(pool_ms) if breaker else BreakerState.CLOSED
        if breaker and (state is BreakerState.OPEN or (state is BreakerState.HALF_OPEN and not alone)):
            failures = sum(heard.badly for heard in breaker.heard)
            yield _Tripped(state is BreakerState.OPEN, max(1, breaker.trips), failures, each.card.rank, each)
