"""What other agents' claims on ranks of an agent that begins mean: that it was begun by mistake, if they last. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agent.errors import RankClaimedError

CLAIM_OVER_S = 10.0
"""What another agent claims so long it has; an agent that was killed keeps its claim for 3 s."""


class Claims:
    """Since when there have been any."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def none_are_made(self, said: str, now_s: float) -> bool:
        """Whether nothing is `said` of claims now. Raises RankClaimedError where they have lasted for CLAIM_OVER_S."""
        if not said:
            self._since_s = None
            return True
        self._since_s = now_s if self._since_s is None else self._since_s
        if now_s - self._since_s > CLAIM_OVER_S:
            raise RankClaimedError(said)
        return False


def claims_said(refused: Mapping[str, str]) -> str:
    """What to say of these ranks that the store did not take, and the agents that have them; "" of none."""
    return "; ".join(f"rank {rank} is claimed by agent {agent}" for rank, agent in refused.items())
