"""From a request's shape and a snapshot to what the store is asked: pure, so tests in virtual time plan the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from random import Random

import msgspec

from scheduler.decision import Ask, Candidate, RequestShape
from scheduler.loads import FORGOTTEN_MS, Loads
from scheduler.messages import Role
from scheduler.policies import Policy
from scheduler.policies.context import Context
from scheduler.rank_view import RankView
from scheduler.shortlist import shortlist
from scheduler.view import PoolView

TIE_SHARE = 0.01
"""Of the least base cost: what a rank's learned rate is known to (docs/adr/0004). Without it, of two idle ranks the one
whose rate was measured 0.1 % higher gets everything."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An ask, all candidates of which it is a shortlist, and what the snapshot says of their ranks, by rank."""

    ask: Ask
    candidates: list[Candidate]
    ranks: dict[str, RankView]
    loads: dict[str, Loads]

    def first_token_s(self, rank: str) -> float:
        """How long the first token will take on a rank, from now on."""
        queued_tokens = self.loads[rank].queued_tokens + self.ask.uncached_tokens
        return queued_tokens / self.ranks[rank].seen.prefill_tokens_per_s


def plan(
    shape: RequestShape,
    view: PoolView,
    policy: Policy,
    *,
    pool_ms: float,
    turn: int,
    chance: Random,
    avoid: Collection[str] = (),
) -> Plan | None:
    """What to ask the store for this request at pool time `pool_ms`; None where no rank can take it.

    `turn` counts the placements of the asking gateway; `chance` is the request's own. Ranks to `avoid`, and those of
    which nothing was heard for `FORGOTTEN_MS`, are left out if there are others.
    """
    mixed = {rank.card.rank: rank for rank in view.placeable() if rank.card.role is Role.MIXED}
    usable = {name: rank for name, rank in mixed.items() if name not in avoid} or mixed
    # Told from the snapshot's own time: where Redis is gone, all would fall silent.
    since_ms = view.pool_ms - FORGOTTEN_MS
    ranks = {name: rank for name, rank in usable.items() if rank.seen.heard_ms >= since_ms} or usable
    if not ranks:
        return None
    loads = {name: rank.loads(pool_ms) for name, rank in ranks.items()}
    context = Context(turn=turn, least_queue_s=least_queue_s(ranks.values(), loads))
    candidates = policy(shape, list(ranks.values()), context)
    asked = shortlist(candidates, loads, chance)
    ask = Ask(
        uncached_tokens=shape.prompt_tokens,
        prompt_tokens=shape.prompt_tokens,
        output_tokens=shape.output_tokens,
        singles=asked,
        tie_s=1e-9 + TIE_SHARE * min(candidate.base_s for candidate in asked),
        tie_break=chance.random(),
    )
    return Plan(ask=ask, candidates=candidates, ranks=ranks, loads=loads)


def least_queue_s(ranks: Iterable[RankView], loads: Mapping[str, Loads]) -> float:
    """Seconds of prefill queued on the rank with the least, of the placeable ranks that are considered.

    `loads` by rank; 0 without ranks.
    """
    return min((loads[rank.card.rank].queued_tokens / rank.seen.prefill_tokens_per_s for rank in ranks), default=0.0)
