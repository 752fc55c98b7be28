"""The cases of a simulation: every combination of what is swept. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import msgspec


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a table."""

    policy: str
    gateways: int
    load: float
    burst: float = 1.0


SWEPT = Case.__struct_fields__


def cases(base: Case, sweep: Mapping[str, str]) -> list[Case]:
    """The base with each combination of the values swept, `A/B` for each name; raises ValueError."""
    if unknown := sorted(set(sweep) - set(SWEPT)):
        raise ValueError(f"sweep: {unknown[0]!r} is none of {', '.join(SWEPT)}")
    values = [_values(name, sweep.get(name)) or (getattr(base, name),) for name in SWEPT]
    return [Case(**dict(zip(SWEPT, combination, strict=True))) for combination in product(*values)]


def _values(name: str, text: str | None) -> tuple[Any, ...]:
    if text is None:
        return ()
    items = [item.strip() for item in text.split("/")]
    readers: Mapping[str, Any] = {"policy": str, "gateways": int, "load": float, "burst": float}
    try:
        values = tuple(readers[name](item) for item in items)
    except ValueError:
        raise ValueError(f"sweep: {name}={text}: expected values of {name} with / between them") from None
    if name != "policy" and not all(0 < value <= 10_000 and math.isfinite(value) for value in values):
        raise ValueError(f"sweep: {name}={text}: out of range")
    if name == "burst" and min(values) < 1:
        raise ValueError(f"sweep: {name}={text}: a burst is no slower than the rest, which is 1")
    return values
