"""How fast and how large a simulated rank is. Pure."""

from __future__ import annotations

import msgspec

from simulator.timing import Timing


class RankShape(msgspec.Struct, frozen=True, kw_only=True):
    """`block_tokens` are those of one block of KV and of the prefix cache.

    A step must hold a token of each sequence: `max_num_batched_tokens` is not less than `max_num_seqs`.
    """

    timing: Timing
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_blocks: int
    block_tokens: int

    def __post_init__(self) -> None:
        """Raises ValueError where decoding alone would not fit into a step."""
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError("max_num_batched_tokens: less than max_num_seqs")

    @property
    def kv_tokens(self) -> int:
        """Tokens its KV cache holds."""
        return self.kv_blocks * self.block_tokens
