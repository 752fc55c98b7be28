"""Which DP groups cannot be placed on: the ranks of a group step together or not at all, over several nodes."""

from __future__ import annotations

from collections.abc import Iterable

from scheduler.loads import FORGOTTEN_MS
from scheduler.messages import RankState
from scheduler.rank_view import RankView


def broken_groups(ranks: Iterable[RankView], pool_ms: int) -> frozenset[str]:
    """The DP groups of which a member is down or drained, or one is stalled and none moves at pool time `pool_ms`.

    Idle members say nothing: those of a group that hangs look idle, whatever is sent to them. A member that moves does
    so with requests of its own, as its engine counts them, and its word is not older than a sample's may be.
    """
    broken, stalled, moving = set(), set(), set()
    for rank in ranks:
        if not (group := rank.card.dp_group):
            continue
        if rank.drained or rank.state is RankState.DOWN:
            broken.add(group)
        elif rank.state is RankState.STALLED:
            stalled.add(group)
        elif rank.seen.running > 0 and pool_ms - rank.seen.sampled_ms <= FORGOTTEN_MS:
            moving.add(group)
    return frozenset(broken | (stalled - moving))
