"""Any rank is as good as another; the request's own chance decides. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.decision import Candidate, LegKind, RequestShape
from scheduler.placeable import Placeable
from scheduler.policies.context import Context
from scheduler.rank_view import RankView


def random(kind: LegKind, _shape: RequestShape, ranks: Sequence[RankView], context: Context) -> list[Candidate]:
    """Every rank costs the same, so the tie is broken by chance."""
    return [Candidate.on(rank.card, kind, context.later_s) for rank in ranks]


def likely(_ranks: Placeable, _turn: int, _share: int) -> Sequence[RankView]:
    """None more than others: those drawn by chance will do."""
    return ()
