"""Where a request goes while the shared ledger cannot be asked. Pure.

Two ranks by rendezvous hash of the prompt's leading blocks, and those that the gateway remembers to hold much of it
(picks.py); then the cheapest of them on the last snapshot plus this gateway's own placements since. The hash needs no
state: all gateways send equal prefixes to the same two ranks. What the others have placed since no gateway sees, and
with many of them that is what hurts while Redis is gone (docs/adr/0019).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from heapq import nlargest

from scheduler.decision import UNLIMITED, Ask, Candidate
from scheduler.loads import Loads
from scheduler.rank_view import RankView
from scheduler.reservation import Reservation
from scheduler.shortlist import cost_on

CHOICES = 2
FULL_S = 1e9
"""What a full rank costs more, as in scripts/price.lua: it is taken only where every other is full too."""


def preferred(ranks: Iterable[RankView], prompt_key: str) -> list[RankView]:
    """The two ranks, or the only one, that a prompt goes to; whatever their order, and in that of their weight."""
    return nlargest(CHOICES, ranks, key=lambda rank: _weight(rank.card.rank, prompt_key))


def cost_alone(candidate: Candidate, loads: Loads) -> float:
    """The candidate's cost in seconds, with what makes ranks that start slowly full (slow_start.py).

    Caps on KV are left out: what the other gateways have placed since is not known.
    """
    cost_s = cost_on(candidate, loads)
    is_full = _above(loads.queued_tokens, candidate.cap_queued_tokens) or _above(loads.requests, candidate.cap_requests)
    return cost_s + FULL_S if is_full and loads.requests > 0 else cost_s


def cheapest(candidates: Iterable[Candidate], loads: Mapping[str, Loads]) -> Candidate:
    """The cheapest of candidates, of which there is at least one; `loads` by rank."""
    return min(candidates, key=lambda candidate: cost_alone(candidate, loads[candidate.rank]))


def choose_alone(ask: Ask, loads: Mapping[str, Loads]) -> tuple[Candidate, ...]:
    """The cheapest single rank or pair of an ask that has at least one of them; `loads` by rank."""

    def cost_s(candidate: Candidate) -> float:
        return cost_alone(candidate, loads[candidate.rank])

    costs: list[tuple[float, tuple[Candidate, ...]]] = [(cost_s(single), (single,)) for single in ask.singles]
    for prefill in ask.prefills:
        seconds = ask.transfer_s[prefill.place_class]
        costs += [
            (cost_s(prefill) + cost_s(decode) + seconds[decode.place_class], (prefill, decode))
            for decode in ask.decodes
            if decode.place_class in seconds
        ]
    return min(costs, key=lambda cost: cost[0])[1]


def own_decode(ask: Ask, held: Reservation) -> Candidate | None:
    """The decode leg that a pair has already, if it may keep it."""
    own = held.legs[-1]
    return next((each for each in ask.decodes if (each.rank, each.incarnation) == (own.rank, own.incarnation)), None)


def _above(load: float, cap: float) -> bool:
    return cap != UNLIMITED and load > cap


def _weight(rank: str, prompt_key: str) -> bytes:
    return blake2b(f"{rank}\0{prompt_key}".encode(), digest_size=8).digest()
