"""What Dynamo's routers keep of requests that are under way: prompts to compute, and blocks that are active. Pure.

Source: https://github.com/ai-dynamo/dynamo at 03037af, docs/components/router/router-concepts.md.

A prompt counts with what its rank had not cached when it was sent, until it is computed: in full, or where
`tokens_per_s` is known, less what the rank has computed since its oldest prompt became the oldest, all of which that
can be.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

from scheduler.decision import LegKind
from simulator.cluster.peers.exact_prefixes import ExactPrefixes
from simulator.cluster.peers.rule import Leg
from simulator.cluster.peers.tally import Tally
from simulator.cluster.request import BLOCK_TOKENS, SimRequest


class ActiveSequences:
    """One router's, or where routers tell each other, all routers'. `now_s` tells the time for `tokens_per_s`."""

    def __init__(self, exact: ExactPrefixes, now_s: Callable[[], float], tokens_per_s: float = 0.0) -> None:
        self._exact, self._now_s, self._tokens_per_s = exact, now_s, tokens_per_s
        self._prompt_tokens, self._active_tokens = Tally(), Tally()
        self._prompts: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self._since_s: dict[str, float] = {}
        self._blocks: defaultdict[str, Counter[int]] = defaultdict(Counter)

    def prompt_tokens(self, rank: str) -> float:
        """Tokens of prompts that a rank has to compute."""
        tokens, prompts = self._prompt_tokens.of(rank), self._prompts[rank]
        if not prompts or not self._tokens_per_s:
            return tokens
        computed = (self._now_s() - self._since_s[rank]) * self._tokens_per_s
        return tokens - min(computed, next(iter(prompts.values())))

    def active_tokens(self, rank: str, request: SimRequest | None = None) -> float:
        """Tokens a rank keeps, blocks that requests share counted once; with a further request's where one is given."""
        active = self._blocks[rank]
        tokens = self._active_tokens.of(rank) + len(active) * BLOCK_TOKENS
        if request:
            tokens += sum(block not in active for block in request.blocks) * BLOCK_TOKENS + own_tokens(request)
        return tokens

    def began(self, leg: Leg) -> None:
        """See Rule."""
        rank, request = leg.rank, leg.request
        if leg.kind is LegKind.DECODE:
            self._active_tokens.add(rank, request.prompt_tokens)
            return
        if leg.kind is LegKind.WHOLE:
            self._active_tokens.add(rank, own_tokens(request))
            self._blocks[rank].update(request.blocks)
        if not self._prompts[rank]:
            self._since_s[rank] = self._now_s()
        tokens = self._exact.uncached_tokens(rank, request)
        self._prompts[rank][request.number] = tokens
        self._prompt_tokens.add(rank, tokens)

    def prefilled(self, leg: Leg) -> None:
        """See Rule."""
        prompts, number = self._prompts[leg.rank], leg.request.number
        if next(iter(prompts)) == number:
            self._since_s[leg.rank] = self._now_s()
        self._prompt_tokens.add(leg.rank, -prompts.pop(number))

    def ended(self, leg: Leg) -> None:
        """See Rule."""
        if leg.kind is LegKind.DECODE:
            self._active_tokens.add(leg.rank, -leg.request.prompt_tokens)
        elif leg.kind is LegKind.WHOLE:
            self._active_tokens.add(leg.rank, -own_tokens(leg.request))
            active = self._blocks[leg.rank]
            for block in leg.request.blocks:
                active[block] -= 1
                if not active[block]:
                    del active[block]


def own_tokens(request: SimRequest) -> int:
    """Those behind the prompt's whole blocks, which nobody shares."""
    return request.prompt_tokens - len(request.blocks) * BLOCK_TOKENS
