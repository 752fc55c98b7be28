"""Ranks and reservations as a gateway has them, with what a test does not care about filled in."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from scheduler.decision import LegKind, RequestShape
from scheduler.messages import Phase, RankCard, RankState, Role
from scheduler.planning import Rules
from scheduler.policies import policy_named
from scheduler.rank_view import RankView
from scheduler.reservation import Reservation, ReservedLeg
from scheduler.rows import BookLoad, SeenRank
from scheduler.view import PoolView
from tests.samples import card

SHAPE = RequestShape(prompt_tokens=1_000, output_tokens=100, prompt_key="k")
PAIRABLE = RequestShape(prompt_tokens=1_000, output_tokens=100, prompt_key="k", pairable=True)


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


def pd_card(name: str, incarnation: str = "i1", **fields: Any) -> RankCard:
    """Of a rank whose role its name tells ("m..", "p.." or "d.."), and of a connector; each on a node of its own."""
    role = {"m": Role.MIXED, "p": Role.PREFILL, "d": Role.DECODE}[name[0]]
    known: dict[str, Any] = {"role": role, "connector": "nixl", "node": f"node of {name}", "max_num_seqs": 256}
    return card(name, incarnation, **known | fields)


def pd_rank(name: str, book: BookLoad | None = None, *, heard: dict[str, Any] | None = None, **fields: Any) -> RankView:
    """A rank of the view with such a card."""
    return RankView(pd_card(name, **fields), seen(**heard or {}), book or BookLoad())


def view(*ranks: RankView, broken_groups: frozenset[str] = frozenset(), pool_ms: int = 0) -> PoolView:
    return PoolView("e1", 7, pool_ms, MappingProxyType({each.card.rank: each for each in ranks}), broken_groups)


def rules(policy: str = "least_work", *connectors: str) -> Rules:
    return Rules(policy=policy_named(policy), connectors=frozenset(connectors))


def held(kind: LegKind, phase: Phase, rank: str = "a") -> Reservation:
    leg = ReservedLeg(kind, rank, "i1", "-")
    return Reservation(phase=phase, uncached_tokens=60, prompt_tokens=100, output_tokens=10, legs=(leg,))
