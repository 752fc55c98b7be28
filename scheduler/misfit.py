"""Where two values that should be one differ. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec


class Misfit(NamedTuple):
    """A field of a receipt that does not fit: what it says, and what it should say by the rest of the receipt."""

    field: str
    recorded: str
    recomputed: str

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.field}: the receipt has {self.recorded}, recomputed {self.recomputed}"


def misfits(field: str, recorded: Any, again: Any) -> Iterator[Misfit]:
    """Where two values differ, as deep inside as it can be said; structs, dicts and tuples of what JSON has."""
    if isinstance(recorded, msgspec.Struct) and type(recorded) is type(again):
        for name in recorded.__struct_fields__:
            yield from misfits(f"{field}.{name}", getattr(recorded, name), getattr(again, name))
    elif isinstance(recorded, dict) and isinstance(again, dict):
        for name in recorded | again:
            yield from misfits(f"{field}.{name}", recorded.get(name), again.get(name))
    elif isinstance(recorded, tuple) and isinstance(again, tuple) and len(recorded) == len(again):
        for place, (one, other) in enumerate(zip(recorded, again, strict=True), 1):
            yield from misfits(f"{field}[{place}]", one, other)
    elif recorded != again:
        yield Misfit(field, _short(recorded), _short(again))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
