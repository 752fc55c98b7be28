"""From a request's shape and a snapshot to what the store is asked; tests in virtual time plan the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import nlargest, nsmallest
from random import Random

import msgspec

from scheduler.choice import Choice, choose
from scheduler.decision import Ask, Candidate, Leg, LegKind, Place, PricedRank, RequestShape
from scheduler.loads import Loads
from scheduler.pairing import PairCandidates, Paired, pair_anywhere, pair_by_place
from scheduler.picks import PairPicks, Picked, Picks, pick, pick_alone
from scheduler.policies.context import Context
from scheduler.policies.policy import Policy
from scheduler.rank_view import RankView
from scheduler.reservation import Reservation, ReservedLeg
from scheduler.shortlist import MOST, cost_on, shortlist
from scheduler.slow_start import ramped_all
from scheduler.view import PoolView

TIE_SHARE = 0.05
"""Of the request's own prefill: what a rank's learned rate is known to (docs/adr/0004). Without it, of two idle ranks
the one whose rate was measured 0.1 % higher gets everything."""
LOCAL = 2
"""Decode ranks that are asked to prefill by themselves where pairs are asked too: the best ones (docs/adr/0011)."""
HOLDERS = 8
"""Ranks that are priced for what they hold of a prompt, those that hold the most, where not all ranks are."""

HOLDERS_ALONE, HELD_ALONE = 2, 0.5
"""While the store is gone: so many, and only those that hold this share of the prompt. What many prompts begin with is
held by many ranks, and all gateways would go to those that were idle when the store went."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway places by: a policy, and the connectors it speaks, for only ranks with one of these are paired."""

    policy: Policy
    connectors: frozenset[str] = frozenset()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An ask, and what the snapshot says of the ranks that were priced for it, by rank."""

    ask: Ask
    ranks: dict[str, RankView]
    loads: dict[str, Loads]

    def first_token_s(self, reservation: Reservation) -> float:
        """How long the first token of what was reserved by this plan will take, from now on."""
        rank = reservation.legs[0].rank
        queued_tokens = self.loads[rank].queued_tokens + reservation.uncached_tokens
        return queued_tokens / self.ranks[rank].seen.prefill_tokens_per_s

    def leg(self, reserved: ReservedLeg) -> Leg:
        """A leg that was reserved, for whoever sends the request."""
        return Leg(kind=reserved.kind, card=self.ranks[reserved.rank].card)

    def legs(self, reservation: Reservation) -> tuple[Leg, ...]:
        """All legs of a reservation that was made by this plan."""
        return tuple(map(self.leg, reservation.legs))

    def place(
        self,
        reservation_id: int,
        reservation: Reservation,
        *,
        cost_s: float = 0.0,
        receipt: tuple[PricedRank, ...] = (),
        alone: bool = False,
    ) -> Place:
        """The decision that a reservation by this plan is."""
        return Place(
            reservation=reservation_id,
            legs=self.legs(reservation),
            cost_s=cost_s,
            first_token_s=self.first_token_s(reservation),
            alone=alone,
            receipt=receipt,
        )


def plan(
    shape: RequestShape,
    view: PoolView,
    rules: Rules,
    *,
    pool_ms: float,
    turn: int,
    chance: Random,
    avoid: frozenset[str] = frozenset(),
) -> Plan | None:
    """What to ask the store for this request at pool time `pool_ms`; None where no rank can take it.

    `turn` counts the placements of the asking gateway; `chance` is the request's own. Ranks to `avoid`, and those whose
    agents fell silent, are left out if there are others (choice.py).
    """
    choice = choose(shape, view, rules.connectors, avoid)
    if not choice:
        return None
    holders = nlargest(HOLDERS, shape.cached_tokens, key=shape.cached_tokens.__getitem__)
    picked = pick(choice, rules.policy, turn, chance, holders)
    return _Prices(shape, rules.policy, choice, picked, pool_ms).plan(chance)


def plan_alone(
    shape: RequestShape, view: PoolView, rules: Rules, *, pool_ms: float, chance: Random, avoid: frozenset[str]
) -> Plan | None:
    """What is not asked while the store is gone: its candidates are those that any gateway would prefer for the prompt.

    And those that this one remembers to hold much of it, which `cached_tokens` names, the deepest first. The rest is as
    for `plan`.
    """
    choice = choose(shape, view, rules.connectors, avoid)
    if not choice:
        return None
    holders = [rank for rank, tokens in shape.cached_tokens.items() if tokens >= HELD_ALONE * shape.prompt_tokens]
    picked = pick_alone(choice, shape.prompt_key, chance, holders[:HOLDERS_ALONE])
    return _Prices(shape, rules.policy, choice, picked, pool_ms).plan(chance)


class _Prices:
    """What one request costs on the ranks that were picked for it."""

    def __init__(self, shape: RequestShape, policy: Policy, choice: Choice, picked: Picked, pool_ms: float) -> None:
        self._shape, self._policy, self._picked, self._pool_ms = shape, policy, picked, pool_ms
        prefilling = [*picked.mixed.ranks, *picked.decode_whole.ranks]
        prefilling += [rank for pair in picked.pairs for rank in pair.prefill.ranks]
        decoding = [rank for pair in picked.pairs for rank in pair.decode.ranks]
        self._ranks = {rank.card.rank: rank for rank in (*prefilling, *decoding)}
        self._loads = {name: rank.loads(pool_ms) for name, rank in self._ranks.items()}
        self._least_queue_s = least_queue_s(prefilling, self._loads)

    def plan(self, chance: Random) -> Plan:
        """The ask for the ranks that are the best of these, and for some by chance."""
        pairs = [self._pair(pair, MOST // len(self._picked.pairs)) for pair in self._picked.pairs]
        singles = (*self._whole(chance), *self._local(pairs))
        prefilling = [*singles, *(each for pair in pairs for each in pair.prefills)]
        tie_s = tie_of(prefilling, own_prefill_s(self._shape, prefilling, self._ranks))
        paired = self._paired(pairs, tie_s, chance)
        ask = Ask(
            prompt_tokens=self._shape.prompt_tokens,
            output_tokens=self._shape.output_tokens,
            singles=singles,
            prefills=paired.prefills,
            decodes=paired.decodes,
            transfer_s=paired.transfer_s,
            tie_s=tie_s,
            tie_break=chance.random(),
        )
        return Plan(ask=ask, ranks=self._ranks, loads=self._loads)

    def _whole(self, chance: Random) -> Sequence[Candidate]:
        mixed, decode = self._picked.mixed, self._picked.decode_whole
        candidates = self._price(LegKind.WHOLE, mixed.ranks, is_first=self._picked.mixed_first)
        candidates += self._price(LegKind.WHOLE, decode.ranks, is_first=self._picked.decode_whole_first)
        drawn = [rank.card.rank for rank in (*mixed.drawn, *decode.drawn)]
        if mixed.drawn and decode.drawn:
            chance.shuffle(drawn)
        return shortlist(candidates, self._loads, drawn)

    def _local(self, pairs: Sequence[PairCandidates]) -> Sequence[Candidate]:
        if not self._policy.prefills_on_decode or not pairs:
            return ()
        ranks = [self._ranks[each.rank] for pair in pairs for each in pair.decodes]
        ranks = [rank for rank in ranks if rank.card.serves_whole]
        candidates = self._price(LegKind.WHOLE, ranks, is_first=True)
        return nsmallest(LOCAL, candidates, key=lambda candidate: cost_on(candidate, self._loads[candidate.rank]))

    def _pair(self, pair: PairPicks, most: int) -> PairCandidates:
        return PairCandidates(
            self._shortlist(LegKind.PREFILL, pair.prefill, most),
            self._shortlist(LegKind.DECODE, pair.decode, most),
            0.0 if pair.is_first else self._policy.later_s,
        )

    def _shortlist(self, kind: LegKind, picks: Picks, most: int) -> Sequence[Candidate]:
        candidates = self._price(kind, picks.ranks, is_first=True)
        return shortlist(candidates, self._loads, [rank.card.rank for rank in picks.drawn], most)

    def _price(self, kind: LegKind, ranks: Sequence[RankView], *, is_first: bool) -> list[Candidate]:
        context = Context(
            least_queue_s=self._least_queue_s,
            later_s=0.0 if is_first else self._policy.later_s,
        )
        candidates = ramped_all(self._policy.price(kind, self._shape, ranks, context), ranks, self._pool_ms)
        cached, uncached_tokens = self._shape.cached_tokens, self._shape.uncached_tokens
        if kind is LegKind.DECODE or not cached:
            return candidates
        return [
            msgspec.structs.replace(each, uncached_tokens=uncached_tokens(each.rank)) if each.rank in cached else each
            for each in candidates
        ]

    def _paired(self, pairs: Sequence[PairCandidates], tie_s: float, chance: Random) -> Paired:
        if not self._policy.in_seconds:
            return pair_anywhere(pairs)
        if not pairs:
            return Paired((), (), {})
        prefill_s = own_prefill_s(self._shape, (each for pair in pairs for each in pair.prefills), self._ranks)
        return pair_by_place(pairs, self._ranks, prefill_s=prefill_s, tie_s=tie_s, chance=chance)


def tie_of(prefilling: Iterable[Candidate], prefill_s: float) -> float:
    """What prefills' costs may differ by and be equal, where the prompt's own takes `prefill_s`."""
    return 1e-9 + TIE_SHARE * min(prefill_s, *(each.base_s for each in prefilling))


def own_prefill_s(shape: RequestShape, candidates: Iterable[Candidate], ranks: Mapping[str, RankView]) -> float:
    """How long the whole prompt takes on the fastest of these; `ranks` by name."""
    return shape.prompt_tokens / max(ranks[each.rank].seen.prefill_tokens_per_s for each in candidates)


def least_queue_s(ranks: Iterable[RankView], loads: Mapping[str, Loads]) -> float:
    """Seconds of prefill queued on the rank with the least, of the placeable ranks that are priced.

    `loads` by rank; 0 without ranks.
    """
    return min((loads[rank.card.rank].queued_tokens / rank.seen.prefill_tokens_per_s for rank in ranks), default=0.0)
