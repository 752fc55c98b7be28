"""From a request's shape and a snapshot to what the store is asked: pure, so that the simulation plans the same."""

from __future__ import annotations

from random import Random

import msgspec

from scheduler.decision import Ask, RequestShape
from scheduler.loads import Loads
from scheduler.messages import RankCard, Role
from scheduler.policies import Policy
from scheduler.policies.context import Context, least_queue_s
from scheduler.shortlist import shortlist
from scheduler.view import PoolView

TIE_SHARE = 0.05
"""Of the least base cost: what a rank's learned rate is worth. Without it, of two idle ranks the one whose rate was
measured 0.1 % higher gets everything."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An ask, and what the snapshot says of the ranks in it, by rank; `first_token_s` from now on."""

    ask: Ask
    cards: dict[str, RankCard]
    loads: dict[str, Loads]
    first_token_s: dict[str, float]


def plan(
    shape: RequestShape, view: PoolView, policy: Policy, *, pool_ms: float, turn: int, chance: Random, explain: bool
) -> Plan | None:
    """What to ask the store for this request at pool time `pool_ms`; None where no rank can take it.

    `turn` counts the placements of the asking gateway; `chance` is the request's own.
    """
    ranks = [rank for rank in view.placeable() if rank.card.role is Role.MIXED]
    if not ranks:
        return None
    loads = {rank.card.rank: rank.loads(pool_ms) for rank in ranks}
    context = Context(pool_ms=pool_ms, turn=turn, least_queue_s=least_queue_s(ranks, pool_ms))
    candidates = shortlist(policy(shape, ranks, context), loads, chance)
    ask = Ask(
        uncached_tokens=shape.prompt_tokens,
        prompt_tokens=shape.prompt_tokens,
        output_tokens=shape.output_tokens,
        singles=candidates,
        tie_s=1e-9 + TIE_SHARE * min(candidate.base_s for candidate in candidates),
        tie_break=chance.random(),
        explain=explain,
    )
    return Plan(
        ask=ask,
        cards={rank.card.rank: rank.card for rank in ranks},
        loads=loads,
        first_token_s={
            rank.card.rank: (loads[rank.card.rank].queued_tokens + ask.uncached_tokens) / rank.seen.prefill_tokens_per_s
            for rank in ranks
        },
    )
