"""What a policy may know beside the request and the ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from scheduler.decision import Candidate, LegKind
from scheduler.loads import Loads
from scheduler.rank_view import RankView


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """`turn` counts this gateway's placements; `least_queue_s` is the pool's shortest queue in seconds of prefill."""

    turn: int
    least_queue_s: float


def whole(rank: RankView, base_s: float = 0.0, **prices: float) -> Candidate:
    """A candidate that takes the whole request on one rank."""
    card = rank.card
    return Candidate(card.rank, card.incarnation, LegKind.WHOLE, "", card.dp_group or "-", base_s, **prices)


def least_queue_s(ranks: Iterable[RankView], loads: Mapping[str, Loads]) -> float:
    """Seconds of prefill queued on the rank with the least, `loads` by rank; 0 without ranks."""
    return min((loads[rank.card.rank].queued_tokens / rank.seen.prefill_tokens_per_s for rank in ranks), default=0.0)
