"""Ranks as a gateway's view has them, with what a test does not care about filled in."""

from __future__ import annotations

from typing import Any

from scheduler.decision import Ask, Candidate, LegKind, RequestShape
from scheduler.messages import RankCard, RankReport, RankState, Role
from scheduler.rank_view import RankView
from scheduler.rows import BookLoad, SeenRank
from scheduler.view import PoolView

SHAPE = RequestShape(prompt_tokens=1_000, output_tokens=100, prompt_key="k")


def card(rank: str = "a", **fields: Any) -> RankCard:
    known: dict[str, Any] = {
        "rank": rank,
        "endpoint": f"http://{rank}",
        "role": Role.MIXED,
        "model": "m",
        "incarnation": "i1",
        "node": "n",
        "max_num_seqs": 8,
        "max_model_len": 8_192,
        "kv_capacity_tokens": 100_000,
    }
    return RankCard(**known | fields)


def seen(**fields: Any) -> SeenRank:
    known: dict[str, Any] = {
        "incarnation": "i1",
        "state": RankState.UP,
        "drained": False,
        "sampled_ms": 0,
        "foreign_requests": 0,
        "foreign_kv_tokens": 0,
        "prefill_tokens_per_s": 1_000.0,
        "owner": "n/1",
        "running": 0,
    }
    return SeenRank(**known | fields)


def rank(name: str, book: BookLoad | None = None, *, heard: dict[str, Any] | None = None, **fields: Any) -> RankView:
    """A rank of the view; `heard` are fields of what its agent said, `fields` of its card."""
    return RankView(card(name, **fields), seen(**heard or {}), book or BookLoad())


def view(*ranks: RankView, broken_groups: frozenset[str] = frozenset()) -> PoolView:
    return PoolView("e1", 7, 0, {each.card.rank: each for each in ranks}, broken_groups)


def single(name: str, base_s: float = 0.0, **prices: Any) -> Candidate:
    return Candidate(name, "i1", LegKind.WHOLE, "", "-", base_s, **prices)


def ask(*singles: Candidate, **fields: Any) -> Ask:
    known: dict[str, Any] = {"uncached_tokens": 100, "prompt_tokens": 100, "output_tokens": 10}
    return Ask(singles=singles, **known | fields)


def report(name: str = "a", **fields: Any) -> RankReport:
    known: dict[str, Any] = {
        "rank": name,
        "incarnation": "i1",
        "state": RankState.UP,
        "age_ms": 0,
        "running": 0,
        "waiting": 0,
        "kv_used_tokens": 0,
        "prefill_tokens_per_s": 1_000.0,
    }
    return RankReport(**known | fields)
