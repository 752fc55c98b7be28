"""Sees whether other agents have ranks of an agent that begins: two agents of one rank are a mistake of whoever began
the second, who is told so by its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import anyio

from agent.errors import RankClaimedError
from agent.node import Node

CLAIM_OVER_S = 10.0
"""What another agent claims so long it has; an agent that was killed keeps its claim for 3 s."""
_LOOK_S = 0.2


class Claims:
    """Claims of others while ranks are awaited; `said` gives what to say of them now, "" where there are none."""

    def __init__(self, said: Callable[[], str]) -> None:
        self._said = said
        self._since_s: float | None = None

    def none_are_made(self) -> bool:
        """Whether nobody else has ranks of ours. Raises RankClaimedError where somebody has for CLAIM_OVER_S."""
        said = self._said()
        if not said:
            self._since_s = None
            return True
        now_s = time.monotonic()
        self._since_s = now_s if self._since_s is None else self._since_s
        if now_s - self._since_s > CLAIM_OVER_S:
            raise RankClaimedError(said)
        return False


async def until_undisputed(node: Node) -> None:
    """Return when the store has taken ranks of the node and refused none for CLAIM_OVER_S. From then on a claim is for
    operators to look at: those of its ranks that are the node's must not leave the pool for one that is not.

    Raises RankClaimedError.
    """
    claims = Claims(lambda: claims_said(node.refused()))
    disputed_at_s = time.monotonic()
    while True:
        if not (claims.none_are_made() and node.taken):
            disputed_at_s = time.monotonic()
        elif time.monotonic() - disputed_at_s > CLAIM_OVER_S:
            return
        await anyio.sleep(_LOOK_S)


def claims_said(refused: Mapping[str, str]) -> str:
    """What to say of these ranks that the store did not take, and the agents that have them."""
    return "; ".join(f"rank {rank} is claimed by agent {agent}" for rank, agent in refused.items())
