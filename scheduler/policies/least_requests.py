"""The rank with the fewest requests in it, those of other routers included. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.decision import Candidate, LegKind, RequestShape
from scheduler.placeable import Placeable
from scheduler.policies.context import Context
from scheduler.rank_view import RankView


def least_requests(kind: LegKind, _shape: RequestShape, ranks: Sequence[RankView], context: Context) -> list[Candidate]:
    """A request costs 1; a pair costs those on both of its ranks."""
    return [Candidate.on(rank.card, kind, context.later_s, per_request_s=1.0) for rank in ranks]


def likely(ranks: Placeable, _turn: int, share: int) -> Sequence[RankView]:
    """Those with the fewest requests."""
    return ranks.least(_requests, share)


def _requests(rank: RankView) -> float:
    return rank.book.requests + rank.seen.foreign_requests
