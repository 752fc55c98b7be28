"""Cards, reports, asks and records with what a test does not care about filled in."""

from __future__ import annotations

from typing import Any

import msgspec

from scheduler.decision import Ask, Candidate, LegKind
from scheduler.messages import RankCard, RankReport, RankState, Role


def card(rank: str = "a", incarnation: str = "i1", **fields: Any) -> RankCard:
    known: dict[str, Any] = {
        "rank": rank,
        "endpoint": f"http://{rank.partition('#')[0]}",
        "role": Role.MIXED,
        "model": "m",
        "incarnation": incarnation,
        "node": "n",
        "max_num_seqs": 8,
        "max_model_len": 8_192,
        "kv_capacity_tokens": 100_000,
    }
    return RankCard(**known | fields)


def report(rank: str = "a", incarnation: str = "i1", **fields: Any) -> RankReport:
    """By default of a rank that is up and idle."""
    known: dict[str, Any] = {
        "rank": rank,
        "incarnation": incarnation,
        "state": RankState.UP,
        "age_ms": 0,
        "running": 0,
        "waiting": 0,
        "kv_used_tokens": 0,
        "prefill_tokens_per_s": 1_000.0,
    }
    return RankReport(**known | fields)


def single(rank: str, base_s: float = 0.0, *, incarnation: str = "i1", group: str = "-", **prices: Any) -> Candidate:
    """A rank that may take the whole request; without prices every load costs nothing."""
    return Candidate(rank, incarnation, LegKind.WHOLE, "", group, base_s, **prices)


def leg(
    kind: LegKind, rank: str, base_s: float = 0.0, *, place_class: str = "a", group: str = "-", **prices: Any
) -> Candidate:
    """One leg of a pair."""
    return Candidate(rank, "i1", kind, place_class, group, base_s, **prices)


def ask(*singles: Candidate, tokens: int = 100, uncached: int | None = None, output: int = 10, **fields: Any) -> Ask:
    """A prompt of `tokens`; `uncached` of them on every candidate, or what each says itself."""
    asked = Ask(prompt_tokens=tokens, output_tokens=output, singles=singles, **fields)
    if uncached is None:
        return asked
    first_legs = {"singles": asked.singles, "prefills": asked.prefills}
    computing = {
        name: tuple(msgspec.structs.replace(each, uncached_tokens=uncached) for each in legs)
        for name, legs in first_legs.items()
    }
    return msgspec.structs.replace(asked, **computing)


def record(phase: int, *legs: str, tokens: int = 100, uncached: int | None = None, output: int = 10) -> str:
    """A reservation as the ledger spells it; a leg is "m a", in incarnation i1 and no group unless it says more."""
    uncached = tokens if uncached is None else uncached
    spelled = [" ".join((each.split() + ["i1", "-"][len(each.split()) - 4 :])[:4]) for each in legs]
    return " ".join([f"{phase} {uncached} {tokens} {output}", *spelled])
