"""Which of several groups of ranks has its turn, where costs do not say so. Pure.

A mixed rank and a pair of ranks are two ways to serve a request, and so are pairs of two classes. Each group gets the
share of the requests that its ranks are of all ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple


class Turn(NamedTuple):
    """The group whose turn it is, and how many turns it had before."""

    group: int
    turn: int


Order = Callable[[Sequence[int], int, Random], Turn]
"""From the groups' sizes in ranks, the gateway's placements so far and the request's chance."""


def by_turn(sizes: Sequence[int], turn: int, _chance: Random) -> Turn:
    """In turn: in each round, as many requests for each group as it has ranks."""
    before, place = divmod(turn, max(1, sum(sizes)))
    for group, size in enumerate(sizes):
        if place < size:
            return Turn(group, before * size + place)
        place -= size
    return Turn(0, turn)


def by_chance(sizes: Sequence[int], turn: int, chance: Random) -> Turn:
    """A group as often as it has ranks."""
    place = chance.random() * sum(sizes) if len(sizes) > 1 else 0.0
    for group, size in enumerate(sizes):
        if place < size:
            return Turn(group, turn)
        place -= size
    return Turn(0, turn)
