"""Which candidates of many are worth asking the store about. Pure.

Up to 16 ranks all of them, so that the choice is exact; beyond that the 8 best on the snapshot and 8 by chance, of all
ranks and not only of the better ones. The best alone would herd: all gateways see the same 8 for one snapshot period.
The numbers are from the simulation study: 8 + 8 does at 512 ranks what asking all of them does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import nsmallest

from scheduler.decision import Candidate
from scheduler.loads import Loads

MOST = 16


def cost_on(candidate: Candidate, loads: Loads) -> float:
    """The candidate's cost in seconds on given loads, DP group and caps left out."""
    return (
        candidate.base_s
        + candidate.per_queued_token_s * loads.queued_tokens
        + candidate.per_request_s * loads.requests
        + candidate.per_kv_token_s * loads.kv_tokens
    )


def shortlist(
    candidates: Sequence[Candidate], loads: Mapping[str, Loads], drawn: Sequence[str], most: int = MOST
) -> tuple[Candidate, ...]:
    """At most `most` candidates; `loads` by rank, `drawn` as many by chance of all ranks, of which half come along."""
    if len(candidates) <= most:
        return tuple(candidates)
    best = nsmallest(most // 2, candidates, key=lambda candidate: cost_on(candidate, loads[candidate.rank]))
    asked = {candidate.rank for candidate in best}
    others = {candidate.rank: candidate for candidate in candidates if candidate.rank not in asked}
    return (*best, *[others[rank] for rank in drawn if rank in others][: most - len(best)])
