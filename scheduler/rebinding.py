"""Where a pair goes on when its prefill is done: on its decode rank, or on a better one of the same pair class. Pure.

The decode rank was chosen when the prompt was placed. Loads have changed since, and it may have died. What the request
itself weighs on it is credited, for that would come along; and it is left only for a rank that is better by half a
request, so that equal ranks do not swap their requests (docs/adr/0010).
"""

from __future__ import annotations

from random import Random

import msgspec

from scheduler.choice import decoding
from scheduler.decision import UNLIMITED, Ask, Candidate, Leg, LegKind, RequestShape
from scheduler.messages import RankState
from scheduler.pairing import transfer_s, where
from scheduler.picks import Picks
from scheduler.placeable import Placeable
from scheduler.planning import Plan, Rules
from scheduler.policies.context import Context
from scheduler.rank_view import RankView
from scheduler.reservation import Reservation, ReservedLeg
from scheduler.shortlist import MOST, shortlist
from scheduler.slow_start import ramped_all
from scheduler.view import PoolView

STAY_REQUESTS = 0.5
"""By how many requests another rank must be better."""
STAY_S = 1e-6
"""And by what at least, where requests cost nothing."""
UNLIKE_S = 1e6
"""What another rank costs more under a policy that does not rebind; a full one costs yet more."""


def plan_rebinding(
    held: Reservation, view: PoolView, rules: Rules, *, pool_ms: float, chance: Random, avoid: frozenset[str]
) -> Plan | None:
    """What to ask the store of a reservation in two legs; None where no decode rank can go on with it.

    The other arguments are those of `planning.plan`; ranks to `avoid` are left out if there are others.
    """
    prefill, present = (_rank(view, held.legs[end]) for end in (0, -1))
    if not (known := prefill or present):
        return None
    choice = going_on(held, view, known.card.pair_class, avoid)
    own = present if present and present in choice else None
    picks = Picks.of(choice, rules.policy, 0, 1, chance)
    ranks = {rank.card.rank: rank for rank in (*picks.ranks, *([own] if own else []))}
    if not ranks:
        return None
    candidates = rules.policy.price(LegKind.DECODE, shape_of(held), list(ranks.values()), Context(least_queue_s=0.0))
    candidates = ramped_all(candidates, list(ranks.values()), pool_ms)
    if prefill and rules.policy.in_seconds:
        candidates = [_fetching(each, prefill, ranks[each.rank], held.prompt_tokens) for each in candidates]
    loads = {name: rank.loads(pool_ms) for name, rank in ranks.items()}
    stays = [_credited(each, held) for each in candidates if own and each.rank == own.card.rank]
    others = [each for each in candidates if not (own and each.rank == own.card.rank)]
    asked = shortlist(others, loads, [rank.card.rank for rank in picks.drawn], MOST - 1)
    if not rules.policy.rebinds:
        asked = tuple(msgspec.structs.replace(each, base_s=each.base_s + UNLIKE_S) for each in asked)
    ask = Ask(
        prompt_tokens=held.prompt_tokens,
        output_tokens=held.output_tokens,
        decodes=(*stays, *asked),
        tie_break=chance.random(),
    )
    return Plan(ask=ask, ranks=ranks, loads=loads)


def going_on(held: Reservation, view: PoolView, pair_class: str, avoid: frozenset[str]) -> Placeable:
    """The decode ranks that a reservation may go on with: of what it was placed on, none has a shorter context."""
    present = _rank(view, held.legs[-1])
    return decoding(view, pair_class, avoid, present.card.max_model_len if present else 0)


def shape_of(held: Reservation) -> RequestShape:
    """What is still known of a request that holds a reservation."""
    return RequestShape(prompt_tokens=held.prompt_tokens, output_tokens=held.output_tokens, prompt_key="")


def still_up(view: PoolView, leg: ReservedLeg) -> Leg | None:
    """The leg as it was placed, where its rank is up in the same life: drained, or in a group that has lost a rank.

    It was promised before, and there is no other.
    """
    rank = _rank(view, leg)
    return Leg(kind=leg.kind, card=rank.card) if rank and rank.state is RankState.UP else None


def _rank(view: PoolView, leg: ReservedLeg) -> RankView | None:
    """The rank of a leg, if it still lives the same life."""
    rank = view.ranks.get(leg.rank)
    return rank if rank and rank.card.incarnation == leg.incarnation else None


def _fetching(candidate: Candidate, prefill: RankView, decode: RankView, prompt_tokens: int) -> Candidate:
    prefill_s = prompt_tokens / prefill.seen.prefill_tokens_per_s
    seconds = transfer_s(prefill_s, where(prefill.card), where(decode.card))
    return msgspec.structs.replace(candidate, base_s=candidate.base_s + seconds)


def _credited(own: Candidate, held: Reservation) -> Candidate:
    """The candidate as if the request were not there yet, and a little better."""
    tokens = held.prompt_tokens + held.output_tokens
    weighs_s = own.per_request_s + own.per_group_request_s + tokens * (own.per_kv_token_s + own.per_group_kv_token_s)
    return msgspec.structs.replace(
        own,
        base_s=own.base_s - weighs_s - STAY_REQUESTS * own.per_request_s - STAY_S,
        cap_requests=own.cap_requests if own.cap_requests == UNLIMITED else own.cap_requests + 1,
        cap_kv_tokens=own.cap_kv_tokens if own.cap_kv_tokens == UNLIMITED else own.cap_kv_tokens + tokens,
    )
