"""Dynamo's KV router: the least blocks to compute and to keep, by own accounting and exact prefixes. Pure.

Source: https://github.com/ai-dynamo/dynamo at 07a6c9c, lib/kv-router/src/scheduling/selector/default.rs (worker_logit,
minimum_cost_index) and config.rs for the defaults (overlap credit 1 and undecayed, prefill scale 1, request weight 0,
temperature 0, no queue); docs/components/router/router-concepts.md and router-disaggregated-serving.md.

cost = max(0, prompt blocks under way to the rank + the prompt's - those the rank has cached) + active blocks with the
request's own; any of the least. What is under way is this router's own: it counts in full until the first token, with
what was not cached when it was sent. Blocks that active requests share count once. KV events tell what ranks have
cached. The prefill router keeps no active blocks; the decode router looks for no prefixes, shares no blocks and chooses
when the prefill is done: the least active blocks. All blocks are of one size, so tokens serve as well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from random import Random
from typing import ClassVar

from scheduler.decision import LegKind
from simulator.cluster.peers.exact_prefixes import ExactPrefixes
from simulator.cluster.peers.least import least
from simulator.cluster.peers.rule import Leg, Rule
from simulator.cluster.peers.tally import Tally
from simulator.cluster.peers.uncached_legs import UncachedLegs
from simulator.cluster.request import BLOCK_TOKENS, SimRequest


class Dynamo(Rule):
    """`mixed` ranks keep active blocks in the first leg too."""

    decodes_late: ClassVar[bool] = True

    def __init__(self, exact: ExactPrefixes, mixed: Collection[str], chance: Random) -> None:
        self._exact, self._mixed, self._chance = exact, frozenset(mixed), chance
        self._prefilling = UncachedLegs(exact)
        self._tokens = Tally()
        self._blocks: defaultdict[str, Counter[int]] = defaultdict(Counter)

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return least(ranks, lambda rank: self._prefill_cost(rank, request), self._chance)

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return least(ranks, self._tokens.of, self._chance)

    def began(self, leg: Leg) -> None:
        """See Rule."""
        self._prefilling.began(leg)
        if leg.kind is LegKind.DECODE:
            self._tokens.add(leg.rank, leg.request.prompt_tokens)
        elif leg.kind is LegKind.WHOLE:
            self._tokens.add(leg.rank, _own_tokens(leg.request))
            self._blocks[leg.rank].update(leg.request.blocks)

    def prefilled(self, leg: Leg) -> None:
        """See Rule."""
        self._prefilling.prefilled(leg)

    def ended(self, leg: Leg) -> None:
        """See Rule."""
        if leg.kind is LegKind.DECODE:
            self._tokens.add(leg.rank, -leg.request.prompt_tokens)
        elif leg.kind is LegKind.WHOLE:
            self._tokens.add(leg.rank, -_own_tokens(leg.request))
            active = self._blocks[leg.rank]
            for block in leg.request.blocks:
                active[block] -= 1
                if not active[block]:
                    del active[block]

    def _prefill_cost(self, rank: str, request: SimRequest) -> float:
        cost = self._prefilling.of(rank) + self._exact.uncached_tokens(rank, request)
        if rank in self._mixed:
            active = self._blocks[rank]
            new = sum(block not in active for block in request.blocks)
            cost += self._tokens.of(rank) + (len(active) + new) * BLOCK_TOKENS + _own_tokens(request)
        return cost


def _own_tokens(request: SimRequest) -> int:
    """Those behind the prompt's whole blocks, which nobody shares."""
    return request.prompt_tokens - len(request.blocks) * BLOCK_TOKENS
