"""Asks and records whose numbers all differ, so that none can be taken for another; the output is odd, to be halved."""

from __future__ import annotations

from typing import Any

from scheduler.decision import Ask, Candidate
from tests import samples


def ask(*singles: Candidate, tokens: int = 100, uncached: int = 80, output: int = 11, **fields: Any) -> Ask:
    return samples.ask(*singles, tokens=tokens, uncached=uncached, output=output, **fields)


def pair(prefill: Candidate, decode: Candidate, **fields: Any) -> Ask:
    """An ask that can only be placed on these two."""
    return ask(prefills=(prefill,), decodes=(decode,), transfer_s={"a": {"a": 0.0}}, **fields)


def record(phase: int, *legs: str, tokens: int = 100, uncached: int = 80, output: int = 11) -> str:
    return samples.record(phase, *legs, tokens=tokens, uncached=uncached, output=output)
