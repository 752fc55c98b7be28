"""Each gateway takes the ranks in turn, in the order of their names."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.decision import Candidate, RequestShape
from scheduler.policies.context import Context
from scheduler.rank_view import RankView


def round_robin(_shape: RequestShape, ranks: Sequence[RankView], context: Context) -> list[Candidate]:
    """The rank whose turn it is costs 0, the next one 1, and so on; loads cost nothing."""
    ordered = sorted(ranks, key=lambda rank: rank.card.rank)
    return [
        Candidate.whole(rank.card, float((place - context.turn) % len(ordered))) for place, rank in enumerate(ordered)
    ]
