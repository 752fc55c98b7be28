"""Why a rank that a client names cannot take its request, for those that choose ranks by themselves. Pure."""

from __future__ import annotations

from enum import StrEnum

from scheduler.messages import RankState, Role
from scheduler.view import PoolView


class Fault(StrEnum):
    """What is wrong with a named rank; the value ends the sentence that begins with its name."""

    UNKNOWN = "is no rank of this model"
    PREFILLS = "is a prefill rank, which answers nobody; name a decode or a mixed one"
    PAIRED = "answers nothing that no prefill rank computes for it, and is not to be named"
    DRAINED = "is drained"
    DOWN = "is down"
    STALLED = "is stalled: it does not get on with its requests"
    GROUP = "is in a DP group that is broken"

    @property
    def may_pass(self) -> bool:
        """Whether the same request may be served later."""
        return self not in (Fault.UNKNOWN, Fault.PREFILLS, Fault.PAIRED)


def fault_of(view: PoolView, rank: str) -> Fault | None:
    """Why no request that names this rank can be placed, by the last snapshot; None: it can."""
    named = view.ranks.get(rank)
    if named is None or named.state is RankState.GONE:
        return Fault.UNKNOWN
    if named.card.role is Role.PREFILL:
        return Fault.PREFILLS
    if not named.card.serves_whole:
        return Fault.PAIRED
    if named.drained:
        return Fault.DRAINED
    if named.state is not RankState.UP:
        return Fault.STALLED if named.state is RankState.STALLED else Fault.DOWN
    return Fault.GROUP if named.card.dp_group in view.broken_groups else None
