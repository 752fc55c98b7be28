"""Any rank is as good as another; the request's own chance decides."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.decision import Candidate, RequestShape
from scheduler.placeable import Placeable
from scheduler.policies.context import Context
from scheduler.rank_view import RankView


def random(_shape: RequestShape, ranks: Sequence[RankView], _context: Context) -> list[Candidate]:
    """Every rank costs the same, so the tie is broken by chance."""
    return [Candidate.whole(rank.card) for rank in ranks]


def likely(_ranks: Placeable, _turn: int) -> Sequence[RankView]:
    """None more than others: those drawn by chance will do."""
    return ()
