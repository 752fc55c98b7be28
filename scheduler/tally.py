"""What one gateway's own reservations add up to, rank by rank.

Only the degraded mode needs it: there the last snapshot is corrected by what this gateway has placed and given back
since. The ledger's own sums are made by scripts/book.lua.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scheduler.decision import LegKind
from scheduler.loads import Loads
from scheduler.messages import Phase
from scheduler.reservation import Reservation

NOTHING = Loads(0, 0, 0)


def tally_of(reservations: Iterable[Reservation]) -> dict[str, Loads]:
    """Queued prefill tokens, requests and KV tokens by rank."""
    tally: dict[str, Loads] = {}
    for held in reservations:
        for leg in held.legs:
            waits = leg.kind is not LegKind.DECODE and held.phase < Phase.PREFILL_DONE
            queued = held.uncached_tokens if waits else 0
            more = Loads(queued, 1, held.prompt_tokens + held.output_tokens)
            tally[leg.rank] = _sum(tally.get(leg.rank, NOTHING), more, 1)
    return tally


def believed(read: Mapping[str, Loads], then: Mapping[str, Loads], now: Mapping[str, Loads]) -> dict[str, Loads]:
    """Loads as `read` from a snapshot, with our own tally moved from what it was `then` to what it is `now`."""
    return {
        rank: _sum(_sum(loads, now.get(rank, NOTHING), 1), then.get(rank, NOTHING), -1) for rank, loads in read.items()
    }


def _sum(one: Loads, other: Loads, sign: int) -> Loads:
    return Loads(
        max(0.0, one.queued_tokens + sign * other.queued_tokens),
        max(0.0, one.requests + sign * other.requests),
        max(0.0, one.kv_tokens + sign * other.kv_tokens),
    )
