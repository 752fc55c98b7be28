"""How long to wait before a request is tried anew. Pure.

Full jitter (M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015): any time up to a bound that
doubles, so that requests which failed together do not come back together.
"""

from __future__ import annotations

BASE_S = 0.05


def wait_s(retry: int, chance: float, *, refused: bool) -> float:
    """Seconds before the `retry`-th retry (1 is the first), by a `chance` in [0, 1).

    A rank that `refused` the connection has done nothing, and another is asked at once the first time.
    """
    if refused and retry == 1:
        return 0.0
    return chance * BASE_S * (1 << (retry - 1))
