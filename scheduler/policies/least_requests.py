"""The rank with the fewest requests in it, those of other routers included."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.decision import Candidate, RequestShape
from scheduler.placeable import Placeable
from scheduler.policies.context import Context
from scheduler.rank_view import RankView


def least_requests(_shape: RequestShape, ranks: Sequence[RankView], _context: Context) -> list[Candidate]:
    """A request costs 1."""
    return [Candidate.whole(rank.card, per_request_s=1.0) for rank in ranks]


def likely(ranks: Placeable, _turn: int) -> Sequence[RankView]:
    """Those with the fewest requests."""
    return ranks.least(_requests)


def _requests(rank: RankView) -> float:
    return rank.book.requests + rank.seen.foreign_requests
