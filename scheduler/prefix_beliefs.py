"""What one gateway believed that ranks had cached of the prompts it has placed, until it is told to the store. Pure.

It counts once the prompt is computed: a client that leaves before has had nothing computed and nothing found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from scheduler.prefix_calibration import NO_BELIEF, Believed


class Belief(NamedTuple):
    """Of one prompt: so many tokens were believed to be cached by the life of a rank with this tag."""

    tag: str
    tokens: int
    age_class: int


class Beliefs:
    """By reservation while its prompt is not computed, then in sums by life. `believed_tokens` since the start."""

    def __init__(self) -> None:
        self.believed_tokens = 0
        self._open: dict[int, Belief] = {}
        self._sums: dict[str, Believed] = {}

    def placed(self, reservation: int, belief: Belief) -> None:
        """A prompt was placed."""
        self._open[reservation] = belief

    def computed(self, reservation: int) -> None:
        """Its rank has computed the prompt; said again it changes nothing."""
        belief = self._open.pop(reservation, None)
        if belief is None:
            return
        sums = self._sums.get(belief.tag, NO_BELIEF)
        at = belief.age_class
        self._sums[belief.tag] = (*sums[:at], sums[at] + belief.tokens, *sums[at + 1 :])
        self.believed_tokens += belief.tokens

    def released(self, reservation: int) -> None:
        """The request holds nothing any more; what was not computed by now counts for nothing."""
        self._open.pop(reservation, None)

    def take(self) -> Mapping[str, Believed]:
        """The sums by tag since the last time."""
        sums, self._sums = self._sums, {}
        return sums
