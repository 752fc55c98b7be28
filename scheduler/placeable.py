"""The ranks that a request may be placed on, and those of a large pool that are worth a price.

Pricing all of some thousand ranks for each request would take longer than all else a gateway does. So what is asked of
all of them is found once, and kept with the snapshot that these ranks are from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from heapq import nsmallest
from random import Random

from scheduler.rank_view import RankView

ALL_UP_TO = 64
"""Ranks. So few are all priced, and the shortlist is exact on the snapshot."""
LIKELY = 56
"""Of more, so many are priced for their load; the shortlist takes 8 of them. They are more, since what a request costs
on a rank depends on the request too, and on what has aged since the snapshot."""
DRAWN = 16
"""And so many by chance, from all: enough that 8 of them are none of the 8 best."""

Load = Callable[[RankView], float]


class Placeable:
    """Ranks to choose from, all of one snapshot; false if there is none."""

    def __init__(self, ranks: Iterable[RankView]) -> None:
        self.ranks = tuple(ranks)
        self._least: dict[Load, Sequence[RankView]] = {}
        self._but: dict[frozenset[str], Placeable] = {}

    def __len__(self) -> int:
        return len(self.ranks)

    @cached_property
    def by_name(self) -> Sequence[RankView]:
        """In the order of their names."""
        return sorted(self.ranks, key=lambda rank: rank.card.rank)

    def least(self, load: Load) -> Sequence[RankView]:
        """All of few ranks; of many the `LIKELY` ones of the least load."""
        if len(self.ranks) <= ALL_UP_TO:
            return self.ranks
        if load not in self._least:
            self._least[load] = nsmallest(LIKELY, self.ranks, key=load)
        return self._least[load]

    def drawn(self, chance: Random) -> Sequence[RankView]:
        """Up to `DRAWN` of all, in an order by chance."""
        return chance.sample(self.ranks, min(DRAWN, len(self.ranks)))

    def but(self, names: frozenset[str]) -> Placeable:
        """Those that are none of these."""
        if not names:
            return self
        if names not in self._but:
            self._but[names] = Placeable(rank for rank in self.ranks if rank.card.rank not in names)
        return self._but[names]
