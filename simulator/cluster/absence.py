"""A time in which something answers nobody. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Absence(NamedTuple):
    """From when and for how long, in virtual seconds."""

    from_s: float = 0.0
    for_s: float = 0.0

    def holds(self, now_s: float) -> bool:
        """Whether this is such a moment."""
        return self.from_s <= now_s < self.from_s + self.for_s


NEVER = Absence()
