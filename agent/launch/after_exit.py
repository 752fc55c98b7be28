"""What follows from the end of a launched rank that nobody asked for. Pure.

| the rank | what follows |
|---|---|
| ended before all ranks were ready | all of them end, and the agent: what is wrong will not pass by itself |
| is independent | it is begun anew, alone; given up after MAX_TRIES short lives in a row, the last one with the agent |
| is of a DP group that is all on this node | all end and are begun anew: alone, it would wait for the others for ever |
"""

from __future__ import annotations

import msgspec

MAX_TRIES = 5
LONG_LIFE_S = 600.0
"""A rank that was ready and lived so long begins with a clean slate."""
_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 60.0


class Tries(msgspec.Struct, frozen=True):
    """How many lives in a row were short."""

    short_lives: int = 0

    def after(self, lived_s: float, *, was_ready: bool) -> Tries:
        """The same after one more life."""
        return Tries(0 if was_ready and lived_s >= LONG_LIFE_S else self.short_lives + 1)

    @property
    def delay_s(self) -> float:
        """How long to wait before the next life: twice as long with every short one."""
        return float(min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2 ** max(0, self.short_lives - 1)))


class BeginAnew(msgspec.Struct, frozen=True):
    """Begin this rank anew after a while."""

    delay_s: float


class BeginAllAnew(msgspec.Struct, frozen=True):
    """End all ranks of this node, and begin them anew after a while."""

    delay_s: float


class GiveUp(msgspec.Struct, frozen=True):
    """Leave this rank ended; the others go on."""


class EndAll(msgspec.Struct, frozen=True):
    """End all ranks of this node, and the agent."""

    because: str


Answer = BeginAnew | BeginAllAnew | GiveUp | EndAll


def after_exit(tries: Tries, *, has_begun: bool, is_group: bool, others: int) -> Answer:
    """What follows; `tries` has this life in it already.

    `has_begun`: all ranks were ready once. `others`: how many other ranks of this node run, or will.
    """
    if not has_begun:
        return EndAll("before all ranks were ready")
    if tries.short_lives > MAX_TRIES:
        return GiveUp() if others and not is_group else EndAll(f"after {MAX_TRIES} tries")
    return BeginAllAnew(tries.delay_s) if is_group else BeginAnew(tries.delay_s)
