"""Which of a prompt's blocks the prefix index knows. Pure.

Of the first blocks each one, further on ever fewer: what ranks hold of a long prompt is known to a 32nd of its length,
in a number of keys that grows with the logarithm. The places are the same for all prompts, or equal beginnings would
not meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

DENSE = 128
"""Blocks from the beginning, all of which are known: 64k tokens."""


class Chain(NamedTuple):
    """The blocks that are known, by hash, and how many blocks the prompt has up to the end of each."""

    hashes: Sequence[bytes]
    ends: Sequence[int]


def chain_of(blocks: Sequence[bytes]) -> Chain:
    """The chain of a prompt's blocks."""
    ends = [end for end in range(1, len(blocks) + 1) if end % _stride(end) == 0]
    return Chain([blocks[end - 1] for end in ends], ends)


def _stride(end: int) -> int:
    stride = 1
    while end > DENSE * stride:
        stride *= 4
    return stride
