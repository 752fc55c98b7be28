"""One request of a simulated workload. Pure."""

from __future__ import annotations

import msgspec

BLOCK_TOKENS = 512
"""Tokens in one block of a prompt, as in the Mooncake traces."""


class SimRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `blocks` are ids, none negative, of the prompt's whole blocks of `BLOCK_TOKENS`.

    The k-th id stands for the whole prefix up to block k: equal ids are equal prefixes.
    """

    number: int
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...]

    @property
    def key(self) -> str:
        """Names the prompt's first block; empty where it has none."""
        return str(self.blocks[0]) if self.blocks else ""
