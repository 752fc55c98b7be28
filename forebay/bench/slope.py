"""The cost of one chunk, from streams of two lengths. Pure."""

from __future__ import annotations


def slope_us(short_us: float, long_us: float, short_chunks: int, long_chunks: int) -> float:
    """CPU microseconds per chunk: what is the same for both kinds of streams, such as their beginnings, falls out."""
    return (long_us - short_us) / (long_chunks - short_chunks)
