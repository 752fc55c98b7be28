"""The closed set of answers to "where shall this request go?", and what is asked. Pure.

Costs are in seconds. A candidate's cost is linear in the loads of its rank, so that the script can evaluate it on the
loads as they are at the instant of the placement (docs/design.md).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from scheduler.messages import RankCard

UNLIMITED = -1
WHOLE_PROMPT = -1
NO_GROUP = "-"
"""The DP group of a rank that is in none."""


class LegKind(StrEnum):
    """What one leg of a request does on its rank."""

    WHOLE = "m"
    PREFILL = "p"
    DECODE = "d"


class RequestShape(msgspec.Struct, frozen=True, kw_only=True):
    """What placement needs to know of a request, in tokens; the gateway estimates it.

    `prompt_key` identifies the prompt's leading blocks; equal leading blocks give an equal key. `blocks` are hashes of
    the prompt's whole blocks, each of them about `block_tokens` long; an equal hash means an equal prompt up to the end
    of that block. Without blocks nothing is known of what ranks hold of the prompt. `pairable`: it may be served in two
    legs, a prefill and a decode one (one prompt, one answer, no log probabilities of the prompt). `only_on` names the
    rank that alone can serve it, whatever else there is to avoid; empty for any. `cached_tokens` of the prompt are
    believed to be in the prefix cache of a rank, by rank: the pool looks that up (prefix_index.py). A context of fewer
    than `least_tokens` is surely too short for prompt and answer; 0 where nobody knows.
    """

    prompt_tokens: int
    output_tokens: int
    prompt_key: str
    blocks: tuple[bytes, ...] = ()
    block_tokens: float = 0.0
    pairable: bool = False
    only_on: str = ""
    least_tokens: int = 0
    cached_tokens: dict[str, int] = {}

    def uncached_tokens(self, rank: str) -> int:
        """What a rank has to compute of the prompt: the last token always, for the first new one comes of it."""
        return max(1, self.prompt_tokens - self.cached_tokens.get(rank, 0))


class Candidate(msgspec.Struct, frozen=True):
    """One rank a leg may go to: cost = base + sum(per_x * load_x), and caps above which it is full.

    Loads: queued prefill tokens (the running prompt's progress credited), requests, KV tokens, and the same three
    summed over the rank's DP group (`group`, '-' for none). A cap of `UNLIMITED` never fills; an idle rank is never
    full.
    `place_class` is the pair class (`RankCard.pair_class`) and the place, as one name within the ask: candidates of one
    class cost the same transfer. A rank that serves the whole request needs none.
    `uncached_tokens` are those of the prompt that would be computed on this very rank: what its queue grows by. By
    default (`WHOLE_PROMPT`) all of them; a leg that only decodes computes none and need not say so.
    """

    rank: str
    incarnation: str
    kind: LegKind
    place_class: str
    group: str
    base_s: float
    per_queued_token_s: float = 0.0
    per_request_s: float = 0.0
    per_kv_token_s: float = 0.0
    per_group_queued_token_s: float = 0.0
    per_group_request_s: float = 0.0
    per_group_kv_token_s: float = 0.0
    cap_queued_tokens: float = UNLIMITED
    cap_requests: float = UNLIMITED
    cap_kv_tokens: float = UNLIMITED
    uncached_tokens: int = WHOLE_PROMPT

    @staticmethod
    def on(card: RankCard, kind: LegKind, base_s: float = 0.0, **prices: Any) -> Candidate:
        """One leg on one rank, its place class left open; `prices` are further fields by name."""
        return Candidate(card.rank, card.incarnation, kind, "", card.dp_group or NO_GROUP, base_s, **prices)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One placement to commit: alternatives on a single rank, and prefill/decode pairs.

    The pairs are all of `prefills` x `decodes` whose place classes have an entry in `transfer_s` (prefill, then decode
    class, to the seconds the transfer costs). `spill`: when every candidate is full take the cheapest all the same,
    instead of answering `Wait`. Costs that differ by `tie_s` or less are equal, since prefills are not known to better
    than that (decode legs' costs are: there only the same cost is equal); `tie_break` in [0, 1) decides between them.
    """

    prompt_tokens: int
    output_tokens: int
    singles: tuple[Candidate, ...] = ()
    prefills: tuple[Candidate, ...] = ()
    decodes: tuple[Candidate, ...] = ()
    transfer_s: dict[str, dict[str, float]] = {}
    spill: bool = True
    tie_s: float = 1e-9
    tie_break: float = 0.0
    explain: bool = False

    def uncached_tokens(self, first_leg: Candidate) -> int:
        """What of the prompt is computed if the request goes to this candidate, as place.lua reckons it."""
        return self.prompt_tokens if first_leg.uncached_tokens == WHOLE_PROMPT else first_leg.uncached_tokens


class PricedRank(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a receipt: one candidate's loads at the instant of the placement, the report's age, and the cost.

    A decode rank may be there twice: with what decoding costs on it, and the whole request.
    """

    rank: str
    kind: LegKind
    queued_tokens: float
    requests: float
    kv_tokens: float
    report_age_ms: int
    cost_s: float


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One rank that a request goes to."""

    kind: LegKind
    card: RankCard


class Place(msgspec.Struct, frozen=True, kw_only=True, tag="place"):
    """Placed: the legs in the order they start. `alone` when the gateway chose without the shared ledger.

    `first_token_s` is when the first token is expected, by the last snapshot: for answers that show no first token.
    """

    reservation: int
    legs: tuple[Leg, ...]
    cost_s: float
    first_token_s: float
    alone: bool = False
    receipt: tuple[PricedRank, ...] = ()


class Wait(msgspec.Struct, frozen=True, kw_only=True, tag="wait"):
    """Every candidate is full. Only asks that may not `spill` are answered so; the planner's all may, so far."""

    retry_after_ms: int


class Reject(msgspec.Struct, frozen=True, kw_only=True, tag="reject"):
    """No candidate can be placed on; `reason` is for the client."""

    reason: str


Decision = Place | Wait | Reject
