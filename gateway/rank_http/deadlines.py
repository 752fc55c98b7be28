"""How long a rank may take. Pure."""

from __future__ import annotations

from typing import NamedTuple

VANISHED_S = 15.0
"""Longer than it takes an agent to say that a rank stalls (10 s): whoever can leave such a rank has left it by then."""


class Deadlines(NamedTuple):
    """In seconds: `first_byte_s` from the call to the body's first byte, then `idle_s` for each wait.

    Of a request whose body comes in parts the first byte is due from the last part on.
    That is the rank's silence. A machine that is there answers TCP whatever its rank does: it may not for `vanished_s`.
    """

    connect_s: float
    first_byte_s: float
    idle_s: float
    vanished_s: float = VANISHED_S
