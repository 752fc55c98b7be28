"""Which answers are asked for again, and when. Pure.

Full jitter (M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015): any time up to a bound that
doubles, so that requests which failed together do not come back together.
"""

from __future__ import annotations

import re

BASE_S = 0.5
LONGEST_S = 30.0
BUSY = frozenset({429, 503})
"""The server takes nothing more just now: that is no failure of the request."""
PASSING = frozenset({408, 409, 425, 500, 502, 504, 529}) | BUSY
"""What may be otherwise the next time."""

LONGEST_WAIT_ASKED_S = 3_600.0


def wait_s(retry: int, chance: float) -> float:
    """Seconds before the `retry`-th retry (1 is the first), by a `chance` in [0, 1)."""
    return chance * min(LONGEST_S, BASE_S * (1 << min(retry - 1, 16)))


def asked_wait_s(retry_after: str | None) -> float | None:
    """Seconds that a server asks for by Retry-After (RFC 9110, 10.2.3); None where it asks for none.

    The form with a date is not read: it would compare two hosts' clocks.
    """
    if retry_after is None or not re.fullmatch(r"\d{1,9}", retry_after.strip()):
        return None
    return min(float(retry_after), LONGEST_WAIT_ASKED_S)
