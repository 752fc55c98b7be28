"""What stands for a prompt where equal beginnings are to meet: its first block that is not in a crowd. Pure.

Many prompts of a pool begin alike, all of them with one system prompt say, and two ranks cannot carry them all. So a
gateway counts what the last prompts that came to it began with. All gateways count about the same, as each gets a part
of the same requests.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from math import ceil
from random import Random

DEPTHS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Blocks from the beginning, at the end of which prompts are told apart."""
LAST = 512
"""Prompts that are counted."""
FEW = 4
"""So many are never a crowd, however many ranks there are."""


class Crowds:
    """What the last prompts began with."""

    def __init__(self) -> None:
        self._seen: deque[Sequence[bytes]] = deque()
        self._counts: Counter[bytes] = Counter()

    def see(self, blocks: Sequence[bytes]) -> None:
        """A prompt has come."""
        beginnings = _beginnings(blocks)
        self._seen.append(beginnings)
        self._counts.update(beginnings)
        if len(self._seen) > LAST:
            for beginning in self._seen.popleft():
                self._counts[beginning] -= 1
                if not self._counts[beginning]:
                    del self._counts[beginning]

    def key(self, blocks: Sequence[bytes], ranks: int, chance: Random) -> str:
        """Equal for prompts that begin alike, where they are no more than one of so many ranks' share.

        Where even the whole prompts are alike, chance divides them into as many parts. Empty without blocks.
        """
        most = max(FEW, len(self._seen) / max(1, ranks))
        beginnings = _beginnings(blocks)
        for beginning in beginnings:
            if self._counts[beginning] <= most:
                return beginning.hex()
        if not beginnings:
            return ""
        parts = ceil(self._counts[beginnings[-1]] / most)
        return f"{beginnings[-1].hex()}/{chance.randrange(parts)}"


def _beginnings(blocks: Sequence[bytes]) -> Sequence[bytes]:
    return [blocks[depth - 1] for depth in DEPTHS if depth <= len(blocks)]
