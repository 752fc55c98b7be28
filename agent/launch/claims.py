"""Sees whether other agents have ranks that this one launched."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from agent.errors import LaunchError
from agent.launch.readiness import LaunchedPort, claimed_by_others

CLAIM_OVER_S = 10.0
"""What another agent claims so long it has; an agent that was killed keeps its claim for 3 s."""


class Claims:
    """Claims of others while ranks get ready. `look` gives the ranks' ports, `refused` what the store did not take."""

    def __init__(self, look: Callable[[], Sequence[LaunchedPort]], refused: Callable[[], Mapping[str, str]]) -> None:
        self._look, self._refused = look, refused
        self._since_s: float | None = None

    def none_are_made(self) -> bool:
        """Whether nobody else has ranks of ours now. Raises LaunchError where one has had them for CLAIM_OVER_S."""
        said = claimed_by_others(self._look(), self._refused())
        if not said:
            self._since_s = None
            return True
        now_s = time.monotonic()
        self._since_s = now_s if self._since_s is None else self._since_s
        if now_s - self._since_s > CLAIM_OVER_S:
            raise LaunchError(said)
        return False
