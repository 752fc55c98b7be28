"""From a request's shape and a snapshot to what the store is asked: pure, so tests in virtual time plan the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random

import msgspec

from scheduler.alone import preferred
from scheduler.decision import Ask, Candidate, RequestShape
from scheduler.loads import Loads
from scheduler.placeable import Placeable
from scheduler.policies.context import Context
from scheduler.policies.policy import Policy
from scheduler.rank_view import RankView
from scheduler.shortlist import shortlist
from scheduler.view import PoolView

TIE_SHARE = 0.05
"""Of the request's own prefill: what a rank's learned rate is known to (docs/adr/0004). Without it, of two idle ranks
the one whose rate was measured 0.1 % higher gets everything."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway places by: a policy, and the connectors it speaks, for only ranks with one of these are paired."""

    policy: Policy
    connectors: frozenset[str] = frozenset()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An ask, and what the snapshot says of the ranks that were priced for it, by rank."""

    ask: Ask
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
    avoid: frozenset[str] = frozenset(),
) -> Plan | None:
    """What to ask the store for this request at pool time `pool_ms`; None where no rank can take it.

    `turn` counts the placements of the asking gateway; `chance` is the request's own. Ranks to `avoid`, and those whose
    agents fell silent, are left out if there are others.
    """
    choice = _choice(view, avoid)
    if not choice:
        return None
    return _plan(shape, policy, policy.likely(choice, turn), choice.drawn(chance), pool_ms=pool_ms, chance=chance)


def plan_alone(
    shape: RequestShape, view: PoolView, policy: Policy, *, pool_ms: float, chance: Random, avoid: frozenset[str]
) -> Plan | None:
    """What is not asked while the store is gone: its candidates are those that any gateway would prefer for the prompt.

    The rest is as for `plan`.
    """
    choice = _choice(view, avoid)
    if not choice:
        return None
    return _plan(shape, policy, preferred(choice.ranks, shape.prompt_key), (), pool_ms=pool_ms, chance=chance)


def _choice(view: PoolView, avoid: frozenset[str]) -> Placeable:
    return view.heard.but(avoid) or view.mixed.but(avoid) or view.mixed


def _plan(
    shape: RequestShape,
    policy: Policy,
    likely: Sequence[RankView],
    drawn: Sequence[RankView],
    *,
    pool_ms: float,
    chance: Random,
) -> Plan:
    ranks = {rank.card.rank: rank for rank in (*likely, *drawn)}
    loads = {name: rank.loads(pool_ms) for name, rank in ranks.items()}
    context = Context(least_queue_s=least_queue_s(ranks.values(), loads))
    candidates = policy.price(shape, list(ranks.values()), context)
    asked = shortlist(candidates, loads, [rank.card.rank for rank in drawn])
    ask = Ask(
        uncached_tokens=shape.prompt_tokens,
        prompt_tokens=shape.prompt_tokens,
        output_tokens=shape.output_tokens,
        singles=asked,
        tie_s=_tie_s(shape, asked, ranks),
        tie_break=chance.random(),
    )
    return Plan(ask=ask, ranks=ranks, loads=loads)


def _tie_s(shape: RequestShape, asked: Sequence[Candidate], ranks: Mapping[str, RankView]) -> float:
    own_prefill_s = min(shape.prompt_tokens / ranks[each.rank].seen.prefill_tokens_per_s for each in asked)
    return 1e-9 + TIE_SHARE * min(own_prefill_s, *(each.base_s for each in asked))


def least_queue_s(ranks: Iterable[RankView], loads: Mapping[str, Loads]) -> float:
    """Seconds of prefill queued on the rank with the least, of the placeable ranks that are priced.

    `loads` by rank; 0 without ranks.
    """
    return min((loads[rank.card.rank].queued_tokens / rank.seen.prefill_tokens_per_s for rank in ranks), default=0.0)
