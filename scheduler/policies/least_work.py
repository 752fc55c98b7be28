"""What `forebay` (the default) and its kin cost: seconds to the first token, and the harm to decoding. Pure.

Prefill costs q + alpha * u: q the seconds of work queued on the rank, the running prompt's progress credited; u the
request's own uncached tokens over the rank's learned rate; alpha = 1 + min(8, 2/s x the least q in the pool), since
recomputing a prefix costs everybody behind it, and nothing where a rank is idle. From a simulation on real traces.

Decode costs w * requests / max_num_seqs + KV / capacity with w = 2 (1 to 3 are equal in the simulation), and a rank on
which KV + prompt + expected output would pass 95 % of its capacity counts as full; one that prefills for others, from
KV + prompt on.

A prefill on a rank that decodes too costs h * (requests + 1) * u more, for the tokens it holds up: h = 100 / tokens of
an answer, since u seconds spread over an answer of n tokens are a TPOT longer by u / n (docs/adr/0011).
"""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.decision import Candidate, LegKind, RequestShape
from scheduler.messages import Role
from scheduler.placeable import Placeable
from scheduler.policies.context import Context
from scheduler.rank_view import RankView

ALPHA_PER_QUEUED_S = 2.0
ALPHA_MOST = 8.0
REQUEST_WEIGHT = 2.0
TPOT_WEIGHT = 100.0
"""What a second of TPOT weighs against one of TTFT: answers that come 10 ms a token slower are as bad as a first token
that comes 1 s later."""
KV_VETO_SHARE = 0.95
TYPICAL_TOKENS = 4_096
"""Of a prompt, to know fast ranks from slow ones before a request's own length is known; alpha is left out too."""
DECODE_LOAD_S = 1.0
"""What a decode load of 1 (see above) is worth in seconds of TTFT on a rank that does both."""


def least_work(kind: LegKind, shape: RequestShape, ranks: Sequence[RankView], context: Context) -> list[Candidate]:
    """Prefill and decode cost of the whole request on each rank, or the one of these that a leg is about."""
    if kind is LegKind.DECODE:
        return [_decode(shape, rank) for rank in ranks]
    alpha = 1 + min(ALPHA_MOST, ALPHA_PER_QUEUED_S * context.least_queue_s)
    if kind is LegKind.PREFILL:
        return [_prefill(shape, rank, alpha, _own_s(shape, rank)) for rank in ranks]
    return [_whole(shape, rank, alpha, _harm(shape, rank), _own_s(shape, rank)) for rank in ranks]


def likely(ranks: Placeable, _turn: int, share: int) -> Sequence[RankView]:
    """Those on which a request of `TYPICAL_TOKENS` would cost the least, progress and the age of samples left out."""
    return ranks.least(_load_s, share)


def _load_s(rank: RankView) -> float:
    card, seen, book = rank.card, rank.seen, rank.book
    own_tokens = 0 if card.role is Role.DECODE else TYPICAL_TOKENS
    prefill_s = (book.queued_tokens + own_tokens) / seen.prefill_tokens_per_s
    if card.role is Role.PREFILL:
        return prefill_s
    requests = book.requests + seen.foreign_requests
    kv_tokens = book.unseen_kv_tokens + book.engine_kv_tokens + book.growth_tokens + seen.foreign_kv_tokens
    decode_load = REQUEST_WEIGHT * requests / card.max_num_seqs + kv_tokens / card.kv_capacity_tokens
    return prefill_s + DECODE_LOAD_S * decode_load


def _own_s(shape: RequestShape, rank: RankView) -> float:
    return shape.uncached_tokens(rank.card.rank) / rank.seen.prefill_tokens_per_s


def _prefill(shape: RequestShape, rank: RankView, alpha: float, own_s: float) -> Candidate:
    rate = rank.seen.prefill_tokens_per_s
    return Candidate.on(
        rank.card,
        LegKind.PREFILL,
        alpha * own_s,
        per_queued_token_s=1 / rate,
        cap_kv_tokens=_headroom(rank, shape.prompt_tokens),
    )


def _decode(shape: RequestShape, rank: RankView) -> Candidate:
    card = rank.card
    return Candidate.on(
        card,
        LegKind.DECODE,
        per_request_s=DECODE_LOAD_S * REQUEST_WEIGHT / card.max_num_seqs,
        per_kv_token_s=DECODE_LOAD_S / card.kv_capacity_tokens,
        cap_kv_tokens=_headroom(rank, shape.prompt_tokens + shape.output_tokens),
    )


def _harm(shape: RequestShape, rank: RankView) -> float:
    """What a second of prefill costs for each request it holds up: it is spread over the tokens of that one's answer.

    How long the rank's answers are shows in its book, where half of what is expected is growth (scripts/weights.lua).
    """
    book = rank.book
    if book.growth_tokens and book.dispatched:
        return TPOT_WEIGHT * book.dispatched / (2 * book.growth_tokens)
    return TPOT_WEIGHT / max(1, shape.output_tokens)


def _whole(shape: RequestShape, rank: RankView, alpha: float, harm: float, own_s: float) -> Candidate:
    card, rate = rank.card, rank.seen.prefill_tokens_per_s
    return Candidate.on(
        card,
        LegKind.WHOLE,
        (alpha + harm) * own_s,
        per_queued_token_s=1 / rate,
        per_request_s=DECODE_LOAD_S * REQUEST_WEIGHT / card.max_num_seqs + harm * own_s,
        per_kv_token_s=DECODE_LOAD_S / card.kv_capacity_tokens,
        cap_kv_tokens=_headroom(rank, shape.prompt_tokens + shape.output_tokens),
    )


def _headroom(rank: RankView, own_tokens: int) -> float:
    return max(0.0, KV_VETO_SHARE * rank.card.kv_capacity_tokens - own_tokens)
