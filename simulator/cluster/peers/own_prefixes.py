"""What a gateway believes ranks hold, from nothing but what it sent there itself. Pure.

A block's id stands for the whole prefix up to and with it (SimRequest), so a prefix tree is a dictionary of blocks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence


class OwnPrefixes:
    """Blocks by rank, the least recently sent forgotten where a rank would have more than its `capacity_blocks`.

    A rank without a capacity there has no bound.
    """

    def __init__(self, capacity_blocks: Mapping[str, int] | None = None) -> None:
        self._capacity_blocks = capacity_blocks or {}
        self._ranks_of: dict[int, dict[str, None]] = {}
        self._blocks_of: dict[str, OrderedDict[int, None]] = {}

    def sent(self, rank: str, blocks: Sequence[int]) -> None:
        """A prompt of these blocks went to a rank."""
        known = self._blocks_of.setdefault(rank, OrderedDict())
        for block in blocks:
            if block in known:
                known.move_to_end(block)
            else:
                known[block] = None
                self._ranks_of.setdefault(block, {})[rank] = None
        capacity = self._capacity_blocks.get(rank, len(known))
        while len(known) > capacity:
            self._forget(known.popitem(last=False)[0], rank)

    def counts(self, blocks: Sequence[int]) -> dict[str, int]:
        """How many of a prompt's blocks each rank has, up to the first that none has."""
        counts: dict[str, int] = {}
        for block in blocks:
            ranks = self._ranks_of.get(block)
            if not ranks:
                break
            for rank in ranks:
                counts[rank] = counts.get(rank, 0) + 1
        return counts

    def _forget(self, block: int, rank: str) -> None:
        ranks = self._ranks_of[block]
        del ranks[rank]
        if not ranks:
            del self._ranks_of[block]
