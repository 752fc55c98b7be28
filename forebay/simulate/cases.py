"""The cases of a simulation: every combination of what is swept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any

import msgspec
from msgspec import Meta

Gateways = Annotated[int, Meta(ge=1, le=10_000)]
Load = Annotated[float, Meta(ge=0.001, le=100)]
"""Where it is less, nearly all that is simulated are the reports of idle ranks."""
Burst = Annotated[float, Meta(ge=1, le=1000)]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a table."""

    policy: str
    gateways: Gateways
    load: Load
    burst: Burst = 1.0


SWEPT = {field.name: field.type for field in msgspec.structs.fields(Case)}


def cases(base: Case, sweep: Mapping[str, str]) -> list[Case]:
    """The base with each combination of the values swept, `A/B` for each name; raises ValueError."""
    if unknown := sorted(set(sweep) - set(SWEPT)):
        raise ValueError(f"sweep: {unknown[0]!r} is none of {', '.join(SWEPT)}")
    values = [_values(name, sweep[name]) if name in sweep else (getattr(base, name),) for name in SWEPT]
    return [Case(**dict(zip(SWEPT, combination, strict=True))) for combination in product(*values)]


def counted(number: int, what: str) -> str:
    """As people write it: 1 gateway, 4 gateways."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _values(name: str, text: str) -> tuple[Any, ...]:
    try:
        values = tuple(msgspec.convert(item.strip(), SWEPT[name], strict=False) for item in text.split("/"))
    except msgspec.ValidationError as error:
        reason = f"expected values of {name} with / between them: {error}"
        raise ValueError(f"sweep: {name}={text}: {reason}") from error
    if len(set(values)) < len(values):
        raise ValueError(f"sweep: {name}={text}: each only once")
    return values
