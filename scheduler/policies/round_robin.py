"""Each gateway takes the ranks in turn, in the order of their names. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.decision import Candidate, LegKind, RequestShape
from scheduler.placeable import ALL_UP_TO, Placeable
from scheduler.policies.context import Context
from scheduler.rank_view import RankView


def round_robin(kind: LegKind, _shape: RequestShape, ranks: Sequence[RankView], context: Context) -> list[Candidate]:
    """The first rank costs 0, the next one 1, and so on; loads cost nothing."""
    return [Candidate.on(rank.card, kind, place + context.later_s) for place, rank in enumerate(ranks)]


def likely(ranks: Placeable, turn: int, share: int) -> Sequence[RankView]:
    """The ranks from the one whose turn it is, of all."""
    if not ranks:
        return ()
    first, most = turn % len(ranks), ALL_UP_TO // share
    onwards = ranks.by_name[first : first + most]
    return [*onwards, *ranks.by_name[: min(first, most - len(onwards))]]
