"""Which fault when, on whom, for how long: all of it from a seed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

import msgspec

from tests.chaos.kinds import Kind, Part

JITTER = 0.25
"""Faults begin up to this share of their distance earlier or later, so that no period of ours is met each time."""


class Planned(msgspec.Struct, frozen=True):
    """One fault to come. `target` is the number of the part it hits; `chance` seeds what else is random of it."""

    number: int
    kind: str
    at_s: float
    hold_s: float
    target: int
    chance: int


def schedule(seed: int, kinds: Sequence[Kind], faults: int, every_s: float, parts: Mapping[Part, int]) -> list[Planned]:
    """`faults` faults, `every_s` apart; each kind comes as often as any other, or once more, in an order of chance."""
    chance = Random(f"schedule {seed}")
    order: list[Kind] = []
    while kinds and len(order) < faults:
        order += chance.sample(list(kinds), len(kinds))
    planned = []
    for number, kind in enumerate(order[:faults]):
        at_s = (number + 1 + chance.uniform(-JITTER, JITTER)) * every_s
        planned.append(
            Planned(
                number=number,
                kind=kind.name,
                at_s=round(at_s, 3),
                hold_s=round(chance.uniform(*kind.hold_s), 3),
                target=chance.randrange(parts[kind.part]),
                chance=chance.getrandbits(32),
            )
        )
    return planned
