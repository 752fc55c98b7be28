"""When ports are looked at: a few together, so that what they say fits into one report, and many in turn. Pure.

All at once, the looks of a node with dozens of ports would keep its loop busy for tenths of a second. Where a gateway
runs in the same process, no token would pass meanwhile.
"""

from __future__ import annotations

import math

AT_ONCE = 8
"""As many ports as most nodes have: these share their moments, and so their reports."""
GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it, without what is before the point, are spread evenly however many there are."""


def phase_of(number: int) -> float:
    """Which part of an interval passes before the looks at a node's port with this number, counted from 0."""
    return number // AT_ONCE * GOLDEN % 1.0


def until_look_s(now_s: float, interval_s: float, phase: float) -> float:
    """Seconds to the next look: `phase` of an interval after one of its multiples."""
    moved_s = now_s - phase * interval_s
    return (math.floor(moved_s / interval_s) + 1) * interval_s - moved_s
