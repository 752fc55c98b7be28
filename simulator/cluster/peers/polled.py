"""What a gateway has read of the ranks' own metrics, as old as it may be. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class RankSample(NamedTuple):
    """A rank at one moment: sequences in its batch and waiting, share of KV held, prompt tokens that wait uncomputed.

    `tokens_per_s` are those it generates at the pace of that moment.
    """

    running: int
    waiting: int
    kv_usage: float
    waiting_tokens: int = 0
    tokens_per_s: float = 0.0


IDLE = RankSample(0, 0, 0.0)
"""What is believed of a rank before its first poll."""


class Polled:
    """The last samples by rank. `polls` counts those that came in."""

    def __init__(self) -> None:
        self.polls = 0
        self._samples: Mapping[str, RankSample] = {}

    def take(self, samples: Mapping[str, RankSample]) -> None:
        """A poll has come in."""
        self._samples = samples
        self.polls += 1

    def of(self, rank: str) -> RankSample:
        """The last sample of a rank."""
        return self._samples.get(rank, IDLE)
