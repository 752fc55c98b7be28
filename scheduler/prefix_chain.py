"""Which of a prompt's blocks the prefix index knows. Pure.

Of the first blocks each one, further on ever fewer: what ranks hold of a long prompt is known to a 16th of its length,
in a number of keys that grows with the logarithm. The places are the same for all prompts, or equal beginnings would
not meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

DENSE = 32
"""Blocks from the beginning, all of which are known: 16k tokens."""


class Chain(NamedTuple):
    """The blocks that are known, by hash, and how many blocks the prompt has up to the end of each."""

    hashes: Sequence[bytes]
    ends: Sequence[int]


def chain_of(blocks: Sequence[bytes]) -> Chain:
    """The chain of a prompt's blocks."""
    count, stride = len(blocks), 1
    ends = list(range(1, min(count, DENSE) + 1))
    while count > DENSE * stride:
        ends += range(DENSE * stride + 2 * stride, min(count, 2 * DENSE * stride) + 1, 2 * stride)
        stride *= 2
    return Chain([blocks[end - 1] for end in ends], ends)


def keyed(hashes: Sequence[bytes], secret: bytes) -> Sequence[bytes]:
    """The hashes as they are written down: whoever does not have the secret cannot tell which text one is of.

    Without a secret (b"") they stay as they are. One has at most 64 bytes.
    """
    return [blake2b(each, key=secret, digest_size=len(each)).digest() for each in hashes] if secret else hashes
