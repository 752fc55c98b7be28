"""Ranks and reservations as a gateway has them, with what a test does not care about filled in."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from scheduler.decision import LegKind, RequestShape
from scheduler.messages import Phase, RankState
from scheduler.rank_view import RankView
from scheduler.reservation import Reservation, ReservedLeg
from scheduler.rows import BookLoad, SeenRank
from scheduler.view import PoolView
from tests.samples import card

SHAPE = RequestShape(prompt_tokens=1_000, output_tokens=100, prompt_key="k")


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
        "heard_ms": 0,
        "running": 0,
    }
    return SeenRank(**known | fields)


def rank(name: str, book: BookLoad | None = None, *, heard: dict[str, Any] | None = None, **fields: Any) -> RankView:
    """A rank of the view; `heard` are fields of what its agent said, `fields` of its card."""
    return RankView(card(name, **fields), seen(**heard or {}), book or BookLoad())


def view(*ranks: RankView, broken_groups: frozenset[str] = frozenset(), pool_ms: int = 0) -> PoolView:
    return PoolView("e1", 7, pool_ms, MappingProxyType({each.card.rank: each for each in ranks}), broken_groups)


def held(kind: LegKind, phase: Phase, rank: str = "a") -> Reservation:
    leg = ReservedLeg(kind, rank, "i1", "-")
    return Reservation(phase=phase, uncached_tokens=60, prompt_tokens=100, output_tokens=10, legs=(leg,))
