"""Dynamo's KV router: the least blocks to compute and to keep, by exact prefixes and the routers' accounting. Pure.

Source: https://github.com/ai-dynamo/dynamo at 07a6c9c, lib/kv-router/src/scheduling/selector/default.rs (worker_logit,
minimum_cost_index) and config.rs for the defaults (overlap credit 1 and undecayed, prefill scale 1, request weight 0,
temperature 0, no queue); docs/components/router/router-concepts.md, router-configuration.md and
router-disaggregated-serving.md.

cost = max(0, prompt blocks under way to the rank + the prompt's - those the rank has cached) + active blocks with the
request's own; any of the least. KV events tell what ranks have cached. The prefill router keeps no active blocks; the
decode router looks for no prefixes, shares no blocks and chooses when the prefill is done: the least active blocks. All
blocks are of one size, so tokens serve as well.

dynamo: each router knows its own requests, and a prompt counts in full until the first token, as by default.
dynamo_sync: --router-replica-sync, what one router sends the others know at once (in truth, when a message that may be
lost has come). dynamo_aic: that, and --router-prefill-load-model aic: the progress of the oldest prompt is taken off,
by the ranks' true rate (in truth, by a model of the hardware).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random
from typing import ClassVar

from simulator.cluster.peers.dynamo_active import ActiveSequences
from simulator.cluster.peers.exact_prefixes import ExactPrefixes
from simulator.cluster.peers.least import least
from simulator.cluster.peers.rule import Leg, Rule
from simulator.cluster.request import SimRequest


class Dynamo(Rule):
    """`mixed` ranks keep active blocks in the first leg too."""

    decodes_late: ClassVar[bool] = True

    def __init__(self, exact: ExactPrefixes, active: ActiveSequences, mixed: Collection[str], chance: Random) -> None:
        self._exact, self._active, self._mixed, self._chance = exact, active, frozenset(mixed), chance

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return least(ranks, lambda rank: self._prefill_cost(rank, request), self._chance)

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return least(ranks, self._active.active_tokens, self._chance)

    def began(self, leg: Leg) -> None:
        """See Rule."""
        self._active.began(leg)

    def prefilled(self, leg: Leg) -> None:
        """See Rule."""
        self._active.prefilled(leg)

    def ended(self, leg: Leg) -> None:
        """See Rule."""
        self._active.ended(leg)

    def _prefill_cost(self, rank: str, request: SimRequest) -> float:
        if rank in self._mixed:
            return self._whole_cost(rank, request)
        return self._active.prompt_tokens(rank) + self._exact.uncached_tokens(rank, request)

    def _whole_cost(self, rank: str, request: SimRequest) -> float:
        cost = self._active.prompt_tokens(rank) + self._exact.uncached_tokens(rank, request)
        return cost + self._active.active_tokens(rank, request)
