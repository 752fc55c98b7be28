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

from scheduler.decision import Ask, Candidate
from scheduler.loads import Loads
from scheduler.rank_view import RankView
from scheduler.reservation import Reservation
from scheduler.shortlist import cost_on

CHOICES = 2


def preferred(ranks: Iterable[RankView], prompt_key: str) -> list[RankView]:
    """The two ranks, or the only one, that a prompt goes to; whatever their order, and in that of their weight."""
    return nlargest(CHOICES, ranks, key=lambda rank: _weight(rank.card.rank, prompt_key))


def cheapest(candidates: Iterable[Candidate], loads: Mapping[str, Loads]) -> Candidate:
    """The cheapest of candidates, of which there is at least one; `loads` by rank."""
    return min(candidates, key=lambda candidate: cost_on(candidate, loads[candidate.rank]))


def choose_alone(ask: Ask, loads: Mapping[str, Loads]) -> tuple[Candidate, ...]:
    """The cheapest single rank or pair of an ask that has at least one of them; `loads` by rank."""

    def cost_s(candidate: Candidate) -> float:
        return cost_on(candidate, loads[candidate.rank])

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


def _weight(rank: str, prompt_key: str) -> bytes:
    return blake2b(f"{rank}\0{prompt_key}".encode(), digest_size=8).digest()
