"""Where a request goes while the shared ledger cannot be asked.

Two ranks by rendezvous hash of the prompt's leading blocks, then the cheaper of the two on the last snapshot plus this
gateway's own placements since. Losing prefix knowledge, not load knowledge, is what hurts when Redis is gone (the
simulation says so), and the hash needs no state: all gateways send equal prefixes to the same two ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

from scheduler.decision import Candidate
from scheduler.loads import Loads
from scheduler.shortlist import cost_on

CHOICES = 2


def choose_alone(candidates: Sequence[Candidate], loads: Mapping[str, Loads], prompt_key: str) -> Candidate:
    """The candidate to take; `candidates` is not empty, `loads` by rank."""
    preferred = sorted(candidates, key=lambda candidate: _weight(candidate.rank, prompt_key), reverse=True)
    return min(preferred[:CHOICES], key=lambda candidate: cost_on(candidate, loads[candidate.rank]))


def _weight(rank: str, prompt_key: str) -> bytes:
    return blake2b(f"{rank}\0{prompt_key}".encode(), digest_size=8).digest()
