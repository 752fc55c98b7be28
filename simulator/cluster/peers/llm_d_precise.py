"""What llm-d's precise prefix index knows: the ranks' KV events, and what was just placed. Pure.

Source: https://github.com/llm-d/llm-d-router at ebab687, pkg/epp/framework/plugins/scheduling/scorer/preciseprefixcache
(speculative entries are kept for 2 s).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from simulator.cluster.peers.exact_prefixes import ExactPrefixes
from simulator.cluster.peers.llm_d_index import PrefixIndex
from simulator.cluster.request import SimRequest

SPECULATIVE_S = 2.0


class PreciseIndex(PrefixIndex):
    """`now_s` tells the time by which speculative entries end."""

    def __init__(self, exact: ExactPrefixes, now_s: Callable[[], float]) -> None:
        self._exact, self._now_s = exact, now_s
        self._until_s: dict[str, dict[int, float]] = {rank: {} for rank in exact.ranks}
        self._entries: deque[tuple[float, str, Sequence[int]]] = deque()

    def held_blocks(self, request: SimRequest, blocks: Sequence[int]) -> Mapping[str, int]:
        """See PrefixIndex."""
        self._forget()
        return {
            rank: max(min(len(blocks), self._exact.held_blocks(rank, request)), _leading(expected, blocks))
            for rank, expected in self._until_s.items()
        }

    def picked(self, rank: str, blocks: Sequence[int]) -> None:
        """See PrefixIndex."""
        until_s = self._now_s() + SPECULATIVE_S
        self._entries.append((until_s, rank, blocks))
        self._until_s[rank].update(dict.fromkeys(blocks, until_s))

    def _forget(self) -> None:
        now_s = self._now_s()
        while self._entries and self._entries[0][0] <= now_s:
            _, rank, blocks = self._entries.popleft()
            expected = self._until_s[rank]
            for block in blocks:
                if expected.get(block, now_s + 1) <= now_s:
                    del expected[block]


def _leading(expected: Mapping[int, float], blocks: Sequence[int]) -> int:
    count = 0
    for block in blocks:
        if block not in expected:
            break
        count += 1
    return count
