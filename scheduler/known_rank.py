"""What a receipt says of a rank: as much of a snapshot as placement reads. Pure."""

from __future__ import annotations

import msgspec

from scheduler.breaker import NEVER, Breaker
from scheduler.messages import RankCard, RankState, Role
from scheduler.pairing import ZONE_LABEL
from scheduler.rank_view import RankView
from scheduler.rows import BookLoad, SeenRank


class KnownRank(msgspec.Struct, frozen=True, array_like=True):
    """What of a rank counts for placement: of its card, of its last report, and of the ledger, as the snapshot had it.

    `placeable`: it was up, not drained, and in no broken group. `back_ms` is when it came back
    (slow_start.py). Times in pool ms.
    """

    rank: str
    incarnation: str
    role: Role
    node: str
    zone: str
    connector: str
    engine_version: str
    kv_geometry: str
    dp_group: str
    max_num_seqs: int
    kv_capacity_tokens: int
    sampled_ms: int
    heard_ms: int
    foreign_requests: int
    foreign_kv_tokens: int
    prefill_tokens_per_s: float
    book: BookLoad
    placeable: bool
    back_ms: int = NEVER

    @staticmethod
    def of(view: RankView, *, placeable: bool) -> KnownRank:
        """What counts of a rank of a snapshot."""
        card, seen = view.card, view.seen
        return KnownRank(
            *(card.rank, card.incarnation, card.role, card.node, card.labels.get(ZONE_LABEL, "")),
            *(card.connector, card.engine_version, card.kv_geometry, card.dp_group),
            *(card.max_num_seqs, card.kv_capacity_tokens),
            *(seen.sampled_ms, seen.heard_ms, seen.foreign_requests, seen.foreign_kv_tokens),
            seen.prefill_tokens_per_s,
            view.book,
            placeable,
            view.breaker.back_ms if view.breaker else NEVER,
        )

    def view(self) -> RankView:
        """The rank as a snapshot has it, what does not count left empty."""
        card = RankCard(
            rank=self.rank,
            endpoint="",
            role=self.role,
            model="",
            incarnation=self.incarnation,
            node=self.node,
            max_num_seqs=self.max_num_seqs,
            max_model_len=1,
            kv_capacity_tokens=self.kv_capacity_tokens,
            connector=self.connector,
            engine_version=self.engine_version,
            kv_geometry=self.kv_geometry,
            dp_group=self.dp_group,
            labels={ZONE_LABEL: self.zone} if self.zone else {},
        )
        seen = SeenRank(
            incarnation=self.incarnation,
            state=RankState.UP,
            drained=not self.placeable,
            sampled_ms=self.sampled_ms,
            foreign_requests=self.foreign_requests,
            foreign_kv_tokens=self.foreign_kv_tokens,
            prefill_tokens_per_s=self.prefill_tokens_per_s,
            owner="",
            heard_ms=self.heard_ms,
            running=0,
        )
        breaker = None if self.back_ms == NEVER else Breaker(self.incarnation, back_ms=self.back_ms)
        return RankView(card, seen, self.book, breaker)
