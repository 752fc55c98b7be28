"""What one gateway's own reservations add up to, rank by rank. Pure.

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
            tally[leg.rank] = _sum(tally.get(leg.rank, NOTHING), _weight(leg.kind, held), 1)
    return tally


def believed(
    read: Mapping[str, Loads], then: Mapping[str, Loads], now: Mapping[str, Loads], computed: Mapping[str, float]
) -> dict[str, Loads]:
    """Loads as `read` from a snapshot, with our own tally moved from what it was `then` to what it is `now`.

    Of what others had queued, ranks have `computed` so many tokens since. What others have placed since is not known.
    """
    loads = {}
    for rank, seen in read.items():
        others = _sum(seen, then.get(rank, NOTHING), -1)
        left = Loads(max(0.0, others.queued_tokens - computed[rank]), others.requests, others.kv_tokens)
        loads[rank] = _sum(left, now.get(rank, NOTHING), 1)
    return loads


def _weight(kind: LegKind, held: Reservation) -> Loads:
    prefills = kind is not LegKind.DECODE and held.phase < Phase.PREFILL_DONE
    queued_tokens = held.uncached_tokens if prefills else 0
    if kind is LegKind.PREFILL:  # holds its KV until the decode rank has fetched it
        kv_tokens = held.prompt_tokens if held.phase < Phase.FIRST_TOKEN else 0
        return Loads(queued_tokens, int(prefills), kv_tokens)
    return Loads(queued_tokens, 1, held.prompt_tokens + held.output_tokens)


def _sum(one: Loads, other: Loads, sign: int) -> Loads:
    return Loads(
        max(0.0, one.queued_tokens + sign * other.queued_tokens),
        max(0.0, one.requests + sign * other.requests),
        max(0.0, one.kv_tokens + sign * other.kv_tokens),
    )
