"""One leg of a request inside a simulated rank, and how far it has come. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from simulator.cluster.request import SimRequest


class Watcher(Protocol):
    """Hears how a sequence gets on; called at the time that it says, when the rank's state is settled."""

    def fetch_begins(self, sequence: SimSequence, tokens: int) -> None:
        """Its rank has room for the KV of so many tokens and asks for it; `SteppedRanks.loaded` answers."""

    def first_token(self, sequence: SimSequence) -> None:
        """Its first token is there."""

    def finished(self, sequence: SimSequence) -> None:
        """Its last token is there."""


class SimSequence:
    """`computed` and `num_tokens` are as of the last step that was not mere decoding; `rank.py` counts the others.

    `fetches`: its prompt's KV comes from another rank. `holds`: its KV stays, when it ends, until it is released.
    `offset`, while it decodes, is what its computed tokens are more than the steps its rank has done; `due_at` is the
    number of steps after which it ends or needs a block.
    """

    __slots__ = (
        "blocks", "cached_tokens", "computed", "due_at", "entered", "fetched", "fetches", "holds", "most_tokens",
        "num_tokens", "offset", "preemptions", "published", "request", "watcher",
    )  # fmt: skip

    def __init__(
        self, request: SimRequest, output_tokens: int, watcher: Watcher, *, fetches: bool = False, holds: bool = False
    ) -> None:
        self.request, self.watcher = request, watcher
        self.fetches, self.holds = fetches, holds
        self.num_tokens = request.prompt_tokens
        self.most_tokens = request.prompt_tokens + output_tokens
        self.computed = self.published = self.preemptions = 0
        self.blocks: list[int] = []
        self.cached_tokens = -1
        self.fetched = False
        self.entered = 0
        self.offset = 0
        self.due_at = -1

    @property
    def has_tokens(self) -> bool:
        """Whether it has generated any."""
        return self.num_tokens > self.request.prompt_tokens

    @property
    def must_fetch(self) -> bool:
        """Whether its KV is still elsewhere."""
        return self.fetches and not self.fetched

    def key(self, block: int) -> int:
        """What the prefix cache knows a block by: the prompt's id, or one of its own behind the prompt."""
        known = self.request.blocks
        return known[block] if block < len(known) else ~(self.request.number << 24 | block)

    def keys(self, blocks: int) -> Sequence[int]:
        """The keys of its first blocks, and maybe more."""
        known = self.request.blocks
        return known if blocks <= len(known) else [self.key(block) for block in range(blocks)]
