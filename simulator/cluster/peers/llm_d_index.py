"""What llm-d's picker knows of prefixes, and the approximate way to know it. Pure.

Source: https://github.com/llm-d/llm-d-router at ebab687,
pkg/epp/framework/plugins/requestcontrol/dataproducer/approximateprefix/indexer.go.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from simulator.cluster.peers.own_prefixes import OwnPrefixes
from simulator.cluster.request import SimRequest


class PrefixIndex(ABC):
    """What the picker knows of prefixes."""

    @abstractmethod
    def held_blocks(self, request: SimRequest, blocks: Sequence[int]) -> Mapping[str, int]:
        """How many of these blocks, which begin the request's prompt, each rank has; no entry where none."""

    @abstractmethod
    def picked(self, rank: str, blocks: Sequence[int]) -> None:
        """A prompt that begins with these blocks goes to the rank."""


class ApproximateIndex(PrefixIndex):
    """What this picker has sent itself."""

    def __init__(self, own: OwnPrefixes) -> None:
        self._own = own

    def held_blocks(self, request: SimRequest, blocks: Sequence[int]) -> Mapping[str, int]:
        """See PrefixIndex."""
        return self._own.counts(blocks)

    def picked(self, rank: str, blocks: Sequence[int]) -> None:
        """See PrefixIndex."""
        self._own.sent(rank, blocks)
