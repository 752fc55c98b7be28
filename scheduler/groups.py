"""Which DP groups cannot be placed on: the ranks of a group step together or not at all, over several nodes."""

from __future__ import annotations

from collections.abc import Iterable

from scheduler.loads import FORGOTTEN_MS
from scheduler.messages import RankState
from scheduler.rank_view import RankView

WORD_MS = 30_000
"""How long what an agent said of a rank counts against its group after it fell silent. An agent that restarts is back
well within it; one that died with its node would otherwise hold a group that was moved elsewhere broken for ever."""


def broken_groups(ranks: Iterable[RankView], pool_ms: int) -> frozenset[str]:
    """The DP groups of which a member is down or drained, or one is stalled and none moves at pool time `pool_ms`.

    That a member is down or stalled is its agent's word, good for `WORD_MS`; drained is an operator's, and stays.

    Idle members say nothing: those of a group that hangs look idle, whatever is sent to them. A member that moves does
    so with requests of its own, as its engine counts them, and its word is not older than a sample's may be.
    """
    broken, stalled, moving = set(), set(), set()
    for rank in ranks:
        if not (group := rank.card.dp_group):
            continue
        if rank.drained:
            broken.add(group)
        elif pool_ms - rank.seen.heard_ms > WORD_MS:
            continue
        elif rank.state is RankState.DOWN:
            broken.add(group)
        elif rank.state is RankState.STALLED:
            stalled.add(group)
        elif rank.seen.running > 0 and pool_ms - rank.seen.sampled_ms <= FORGOTTEN_MS:
            moving.add(group)
    return frozenset(broken | (stalled - moving))
