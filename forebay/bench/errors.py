"""What can go wrong in a benchmark."""

from __future__ import annotations


class BenchError(Exception):
    """The benchmark cannot go on; the message says why."""


class TargetError(Exception):
    """One target cannot be measured; the message says why. The others can."""
