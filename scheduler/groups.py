"""Which DP groups cannot be placed on: the ranks of a group step together or not at all, over several nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from scheduler.loads import FORGOTTEN_MS
from scheduler.messages import RankState
from scheduler.rank_view import RankView

WORD_MS = 30_000
"""How long what an agent said of a rank counts against its group after it fell silent. An agent that restarts is back
well within it; one that died with its node would otherwise hold a group that was moved elsewhere broken for ever."""


class Groups:
    """The DP groups of a pool's ranks at pool time `pool_ms`, seen some at a time.

    A group is broken where a member is down or drained, or one is stalled and none moves. That a member is down or
    stalled is its agent's word, good for `WORD_MS`; drained is an operator's, and stays.

    Idle members say nothing: those of a group that hangs look idle, whatever is sent to them. A member that moves does
    so with requests of its own, as its engine counts them, and its word is not older than a sample's may be.
    """

    def __init__(self, pool_ms: int) -> None:
        self._pool_ms = pool_ms
        self._broken: set[str] = set()
        self._stalled: set[str] = set()
        self._moving: set[str] = set()

    def see(self, ranks: Iterable[RankView]) -> None:
        """Takes in what these ranks say."""
        for rank in ranks:
            if not (group := rank.card.dp_group):
                continue
            if rank.drained:
                self._broken.add(group)
            elif self._pool_ms - rank.seen.heard_ms > WORD_MS:
                continue
            elif rank.state is RankState.DOWN:
                self._broken.add(group)
            elif rank.state is RankState.STALLED:
                self._stalled.add(group)
            elif rank.seen.running > 0 and self._pool_ms - rank.seen.sampled_ms <= FORGOTTEN_MS:
                self._moving.add(group)

    def broken(self) -> frozenset[str]:
        """Those that cannot be placed on, once all ranks were seen."""
        return frozenset(self._broken | (self._stalled - self._moving))
