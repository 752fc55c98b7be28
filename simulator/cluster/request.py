"""One request of a workload. Pure."""

from __future__ import annotations

import msgspec

BLOCK_TOKENS = 512
"""Tokens in one block of a prompt, as in the Mooncake traces."""
BLOCK_ID_BYTES = 8


class SimRequest(msgspec.Struct, frozen=True, kw_only=True):
    """When a request arrives, what it asks for, and what its prompt has in common with others.

    `blocks` are the ids, of BLOCK_ID_BYTES and none negative, of the prompt's whole blocks of BLOCK_TOKENS. The k-th id
    stands for the whole prefix up to and with block k: equal ids are equal prefixes. `max_tokens`, where it has one, is
    the limit that gateways see; how long its answer will be they never know.
    """

    number: int
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...]
    max_tokens: int | None = None

    @property
    def key(self) -> str:
        """What requests with the same beginning have in common; empty for a prompt shorter than a block."""
        return str(self.blocks[0]) if self.blocks else ""

    @property
    def cacheable_blocks(self) -> tuple[int, ...]:
        """The blocks that a cache can spare the engine, which has to compute the last token whatever it holds."""
        return self.blocks[: (self.prompt_tokens - 1) // BLOCK_TOKENS]
