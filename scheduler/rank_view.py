"""One rank as a gateway last read of it. Pure."""

from __future__ import annotations

import msgspec

from scheduler.breaker import Breaker
from scheduler.loads import Loads, loads_at
from scheduler.messages import RankCard, RankState
from scheduler.prefix_calibration import CacheBelief
from scheduler.rows import BookLoad, SeenRank


class RankView(msgspec.Struct, frozen=True):
    """One rank as last read; most have no `breaker`: they did not fail of late.

    `former_breaker` is a row that a life before has left in the store, '' for none.
    """

    card: RankCard
    seen: SeenRank
    book: BookLoad
    breaker: Breaker | None = None
    former_breaker: str = ""

    @property
    def state(self) -> RankState:
        """What its agent last said of its health."""
        return self.seen.state

    @property
    def drained(self) -> bool:
        """Whether an operator has drained it."""
        return self.seen.drained

    @property
    def breaker_row(self) -> str:
        """What the store has of its breaker; '' for nothing."""
        return self.breaker.row() if self.breaker else self.former_breaker

    @property
    def prefix_belief(self) -> CacheBelief | None:
        """What is believed of its prefix cache, and what it found; None where its agent does not say."""
        seen = self.seen
        if seen.cache_span_tokens is None or seen.believed_tokens is None or seen.found_tokens is None:
            return None
        return CacheBelief(seen.cache_span_tokens, seen.believed_tokens, seen.found_tokens)

    def loads(self, now_ms: float) -> Loads:
        """Its loads at a pool time."""
        return loads_at(self.book, self.seen, now_ms)
