"""Whether KV is that of the tokens it is taken for. Pure.

What a block of KV holds is known by one number, the model's state after the last token written into it. A block of KV
that is right for a prompt holds the state that the prompt's own tokens give; in what differs, the block is tainted,
and so is every token computed from it. The taint of a sequence is 0 if and only if all its KV is right (but for a
chance of 2**-62), and the same blocks give the same taint.
"""

from __future__ import annotations

from collections.abc import Iterable

from simulator.model import extend


def taint_of(held: Iterable[int], expected: Iterable[int], taint: int = 0) -> int:
    """The taint of a sequence once it also attends to blocks that hold `held` where `expected` is right."""
    for content, right in zip(held, expected, strict=False):
        if content != right:
            taint = extend(taint, content ^ right)
    return taint
