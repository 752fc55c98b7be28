"""The ranks that a request may be placed on, and those of a large pool that are worth a price. Pure.

Pricing all of some thousand ranks for each request would take longer than all else a gateway does. So what is asked of
all of them is found once, and kept with the snapshot that these ranks are from.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
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

REMEMBERED = 16
"""Sets of names that were left out. A request that failed brings its own."""

Load = Callable[[RankView], float]


class Placeable:
    """Ranks to choose from, all of one snapshot; false if there is none."""

    def __init__(self, ranks: Iterable[RankView]) -> None:
        self.ranks = tuple(ranks)
        self._least: dict[tuple[Load, int], Sequence[RankView]] = {}
        self._but: dict[frozenset[str], Placeable] = {}
        self._roomy: dict[int, Placeable] = {}

    def __len__(self) -> int:
        return len(self.ranks)

    def __contains__(self, rank: RankView) -> bool:
        return rank is self._named.get(rank.card.rank)

    @cached_property
    def _named(self) -> Mapping[str, RankView]:
        return {rank.card.rank: rank for rank in self.ranks}

    @cached_property
    def by_name(self) -> Sequence[RankView]:
        """In the order of their names."""
        return sorted(self.ranks, key=lambda rank: rank.card.rank)

    @cached_property
    def by_class(self) -> Mapping[str, Placeable]:
        """The ranks of each pair class."""
        classes: dict[str, list[RankView]] = {}
        for rank in self.ranks:
            classes.setdefault(rank.card.pair_class, []).append(rank)
        return {name: Placeable(ranks) for name, ranks in classes.items()}

    @cached_property
    def serving_whole(self) -> Placeable:
        """Those that need no prefill rank; these themselves where all are."""
        return self.those([rank for rank in self.ranks if rank.card.serves_whole])

    @cached_property
    def _lengths(self) -> Sequence[int]:
        """How long their contexts are; nearly always they all have one length."""
        return sorted({rank.card.max_model_len for rank in self.ranks})

    def with_room(self, tokens: int) -> Placeable:
        """Those whose context takes so many tokens."""
        lengths = self._lengths
        if not lengths or tokens <= lengths[0]:
            return self
        enough = bisect_left(lengths, tokens)
        if enough not in self._roomy:
            least = lengths[enough] if enough < len(lengths) else tokens
            self._roomy[enough] = Placeable(rank for rank in self.ranks if rank.card.max_model_len >= least)
        return self._roomy[enough]

    def least(self, load: Load, share: int) -> Sequence[RankView]:
        """All of few ranks; of many the `LIKELY` ones of the least load, where `share` groups have as many together."""
        if len(self.ranks) <= ALL_UP_TO // share:
            return self.ranks
        if (load, share) not in self._least:
            self._least[load, share] = nsmallest(LIKELY // share, self.ranks, key=load)
        return self._least[load, share]

    def drawn(self, chance: Random, share: int) -> Sequence[RankView]:
        """Up to `DRAWN` of all, in an order by chance, where `share` groups have as many together."""
        return chance.sample(self.ranks, min(DRAWN // share, len(self.ranks)))

    def named(self, names: Iterable[str]) -> list[RankView]:
        """Those of these names that are among them."""
        return [self._named[name] for name in names if name in self._named]

    def only(self, name: str) -> Placeable:
        """The one of that name, if it is among them."""
        return Placeable([self._named[name]] if name in self._named else ())

    def those(self, ranks: Sequence[RankView]) -> Placeable:
        """Some of these, in their order; what was found of all of them is kept where they are all."""
        return self if len(ranks) == len(self.ranks) else Placeable(ranks)

    def but(self, names: frozenset[str]) -> Placeable:
        """Those that are none of these."""
        if not names:
            return self
        if names not in self._but:
            if len(self._but) >= REMEMBERED:
                self._but.clear()
            self._but[names] = Placeable(rank for rank in self.ranks if rank.card.rank not in names)
        return self._but[names]
