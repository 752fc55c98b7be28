"""Asks and records with what tests do not care about filled in."""

from __future__ import annotations

from typing import Any

from scheduler.decision import Ask, Candidate, LegKind


def whole(
    rank: str,
    base_s: float = 0.0,
    *,
    incarnation: str = "i1",
    pair_class: str = "c",
    group: str = "-",
    **prices: Any,
) -> Candidate:
    """A rank that may take the whole request; without prices every load costs nothing."""
    return Candidate(rank, incarnation, LegKind.WHOLE, pair_class, group, base_s, **prices)


def leg(kind: LegKind, rank: str, base_s: float = 0.0, *, pair_class: str = "c", group: str = "-") -> Candidate:
    """One leg of a pair."""
    return Candidate(rank, "i1", kind, pair_class, group, base_s)


def ask(*singles: Candidate, uncached: int = 80, prompt: int = 100, output: int = 11, **fields: Any) -> Ask:
    return Ask(uncached_tokens=uncached, prompt_tokens=prompt, output_tokens=output, singles=singles, **fields)


def pair(prefill: Candidate, decode: Candidate, **fields: Any) -> Ask:
    """An ask that can only be placed on these two."""
    return ask(prefills=(prefill,), decodes=(decode,), transfer_s={"c": {"c": 0.0}}, **fields)


def record(phase: int, *legs: str, uncached: int = 80, prompt: int = 100, output: int = 11) -> str:
    """A reservation as the ledger spells it; a leg is "m r0", in incarnation i1 and no group unless it says more."""
    spelled = [" ".join((each.split() + ["i1", "-"][len(each.split()) - 4 :])[:4]) for each in legs]
    return " ".join([f"{phase} {uncached} {prompt} {output}", *spelled])
