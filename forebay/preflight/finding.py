"""What a check found: how bad, what, and what to change. Pure."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Level(StrEnum):
    """How bad a finding is; `UNSEEN` says that the check could not be made here."""

    OK = "ok"
    UNSEEN = "not checked"
    WARN = "warning"
    BAD = "bad"


class Finding(msgspec.Struct, frozen=True):
    """One line of the report: where, what was found, and the flag or variable to change, '' for nothing."""

    level: Level
    where: str
    what: str
    change: str = ""


def worst(levels: list[Level]) -> Level:
    """The worst of some levels; OK for none."""
    order = list(Level)
    return max(levels, key=order.index, default=Level.OK)
