"""What it means that another agent has ranks of an agent that begins: that it was begun by mistake, if it lasts. Pure.

Time is that of the store's answers: while the store says nothing, a claim that an agent left which was killed may be
over, and nobody has said so.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import msgspec

from agent.errors import RankClaimedError

CLAIM_OVER_S = 10.0
"""What another agent claims so long it has; an agent that was killed keeps its claim for 3 s."""
APART_S = 3.0
"""Of the time between two answers that are further apart nothing is known."""


class StoreAnswer(msgspec.Struct, frozen=True):
    """To a report, at this monotonic time: the ranks that were `taken`, and the agents that have those `refused`."""

    taken: frozenset[str] = frozenset()
    refused: Mapping[str, str] = {}
    at_s: float = -inf


class Claims:
    """How long others have had ranks that are awaited."""

    def __init__(self) -> None:
        self._since_s = self._last_s = -inf

    def none_are_made(self, refused: Mapping[str, str], at_s: float) -> bool:
        """Whether the store's answer of this time refused no rank. Raises RankClaimedError where all its answers for
        CLAIM_OVER_S did, without a pause.
        """
        if not refused:
            self._last_s = -inf
            return True
        if at_s - self._last_s > APART_S:
            self._since_s = at_s
        self._last_s = at_s
        if at_s - self._since_s > CLAIM_OVER_S:
            raise RankClaimedError("; ".join(f"rank {rank} is claimed by agent {refused[rank]}" for rank in refused))
        return False


class Beginning:
    """An agent that attaches to ranks, until it has one. From then on claims are for operators to look at: its ranks
    must not leave the pool for one that is not.
    """

    def __init__(self) -> None:
        self._claims = Claims()
        self._is_over = False

    def hear(self, answer: StoreAnswer) -> None:
        """Take in an answer of the store. Raises RankClaimedError where it has no rank, and others do for too long."""
        self._is_over = self._is_over or bool(answer.taken)
        if not self._is_over:
            self._claims.none_are_made(answer.refused, answer.at_s)
