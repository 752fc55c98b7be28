"""One rank as a gateway last read of it. Pure."""

from __future__ import annotations

import msgspec

from scheduler.loads import Loads, loads_at
from scheduler.messages import RankCard, RankState
from scheduler.rows import BookLoad, SeenRank


class RankView(msgspec.Struct, frozen=True):
    """One rank as last read."""

    card: RankCard
    seen: SeenRank
    book: BookLoad

    @property
    def state(self) -> RankState:
        """What its agent last said of its health."""
        return self.seen.state

    @property
    def drained(self) -> bool:
        """Whether an operator has drained it."""
        return self.seen.drained

    def loads(self, now_ms: float) -> Loads:
        """Its loads at a pool time."""
        return loads_at(self.book, self.seen, now_ms)
