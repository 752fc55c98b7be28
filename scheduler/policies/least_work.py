"""The default: the seconds until the first token, plus what the request does to decoding.

Prefill costs q + alpha * u: q the seconds of work queued on the rank, the running prompt's progress credited; u the
request's own uncached tokens over the rank's learned rate; alpha = 1 + min(8, 2/s x the least q in the pool), since
recomputing a prefix costs everybody behind it, and nothing where a rank is idle. From a simulation on real traces;
the prefix term is zero as long as there is no prefix index, so u is the whole prompt.

Decode costs w * requests / max_num_seqs + KV / capacity with w = 2 (1 to 3 are equal in the simulation), and a rank on
which KV + prompt + expected output would pass 95 % of its capacity counts as full.
"""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.decision import Candidate, RequestShape
from scheduler.placeable import Placeable
from scheduler.policies.context import Context
from scheduler.rank_view import RankView

ALPHA_PER_QUEUED_S = 2.0
ALPHA_MOST = 8.0
REQUEST_WEIGHT = 2.0
KV_VETO_SHARE = 0.95
TYPICAL_TOKENS = 4_096
"""Of a prompt, to know fast ranks from slow ones before a request's own length is known; alpha is left out too."""
DECODE_LOAD_S = 1.0
"""What a decode load of 1 (see above) is worth in seconds of TTFT on a rank that does both."""


def least_work(shape: RequestShape, ranks: Sequence[RankView], context: Context) -> list[Candidate]:
    """Prefill and decode cost of the whole request on each rank."""
    alpha = 1 + min(ALPHA_MOST, ALPHA_PER_QUEUED_S * context.least_queue_s)
    return [_candidate(shape, rank, alpha) for rank in ranks]


def likely(ranks: Placeable, _turn: int) -> Sequence[RankView]:
    """Those on which a request of `TYPICAL_TOKENS` would cost the least, progress and the age of samples left out."""
    return ranks.least(_load_s)


def _load_s(rank: RankView) -> float:
    card, seen, book = rank.card, rank.seen, rank.book
    requests = book.requests + seen.foreign_requests
    kv_tokens = book.unseen_kv_tokens + book.engine_kv_tokens + book.growth_tokens + seen.foreign_kv_tokens
    decode_load = REQUEST_WEIGHT * requests / card.max_num_seqs + kv_tokens / card.kv_capacity_tokens
    return (book.queued_tokens + TYPICAL_TOKENS) / seen.prefill_tokens_per_s + DECODE_LOAD_S * decode_load


def _candidate(shape: RequestShape, rank: RankView, alpha: float) -> Candidate:
    card, rate = rank.card, rank.seen.prefill_tokens_per_s
    headroom = KV_VETO_SHARE * card.kv_capacity_tokens - shape.prompt_tokens - shape.output_tokens
    return Candidate.whole(
        card,
        alpha * shape.prompt_tokens / rate,
        per_queued_token_s=1 / rate,
        per_request_s=DECODE_LOAD_S * REQUEST_WEIGHT / card.max_num_seqs,
        per_kv_token_s=DECODE_LOAD_S / card.kv_capacity_tokens,
        cap_kv_tokens=max(0.0, headroom),
    )
