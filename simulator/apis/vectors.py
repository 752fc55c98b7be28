"""What a simulated model for pooling says of a prompt: made up from its ids alone. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from math import exp, sqrt
from struct import pack
from typing import Final

from simulator.model import prompt_states

DIMENSIONS: Final = 16
_MASK: Final = 2**64 - 1


def vector(ids: Sequence[int]) -> list[float]:
    """An embedding of length one; that of another prompt is another."""
    raw = [_drawn(ids, at) for at in range(DIMENSIONS)]
    length = sqrt(sum(value * value for value in raw))
    return [value / length for value in raw]


def probabilities(ids: Sequence[int]) -> list[float]:
    """Those of two classes."""
    first = 1 / (1 + exp(-4 * _drawn(ids, 0)))
    return [first, 1 - first]


def likeness(one: Sequence[int], other: Sequence[int]) -> float:
    """The cosine of two prompts' embeddings, from -1 to 1."""
    return sum(a * b for a, b in zip(vector(one), vector(other), strict=True))


def packed(values: Sequence[float]) -> str:
    """Numbers in base64, as little-endian floats of four bytes."""
    return b64encode(pack(f"<{len(values)}f", *values)).decode()


def _drawn(ids: Sequence[int], at: int) -> float:
    """A number from -1 to 1."""
    _, state = prompt_states(ids, len(ids))
    drawn = ((state ^ (state >> 29)) * 0xBF58476D1CE4E5B9 + (at + 1) * 0x94D049BB133111EB) & _MASK
    drawn = ((drawn ^ (drawn >> 32)) * 0xD6E8FEB86659FD93) & _MASK
    return (drawn >> 11) / 2**52 - 1
