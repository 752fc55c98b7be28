"""Each gateway takes the ranks in turn, in the order of their names."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.decision import Candidate, RequestShape
from scheduler.placeable import ALL_UP_TO, Placeable
from scheduler.policies.context import Context
from scheduler.rank_view import RankView


def round_robin(_shape: RequestShape, ranks: Sequence[RankView], _context: Context) -> list[Candidate]:
    """The first rank costs 0, the next one 1, and so on; loads cost nothing."""
    return [Candidate.whole(rank.card, float(place)) for place, rank in enumerate(ranks)]


def likely(ranks: Placeable, turn: int) -> Sequence[RankView]:
    """The ranks from the one whose turn it is, of all."""
    first = turn % len(ranks)
    onwards = ranks.by_name[first : first + ALL_UP_TO]
    return [*onwards, *ranks.by_name[: min(first, ALL_UP_TO - len(onwards))]]
