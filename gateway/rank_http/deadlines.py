"""How long a rank may take. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Deadlines(NamedTuple):
    """In seconds: `first_byte_s` from the call to the body's first byte, then `idle_s` for each wait."""

    connect_s: float
    first_byte_s: float
    idle_s: float
