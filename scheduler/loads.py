"""A rank's load as the store tells it, and what it amounts to at a given pool time.

The formulas are those of scripts/price.lua, which decides; here they serve the shortlist, the degraded mode and
people. The contract suite holds the two together.
"""

from __future__ import annotations

import msgspec

from scheduler.messages import RankState

FRESH_MS = 2_000
FORGOTTEN_MS = 10_000
LARGEST = 1 << 53
"""Up to here Lua's numbers, and floats, are exact."""


class BookLoad(msgspec.Struct, frozen=True):
    """What the reservations on a rank add up to: the fields of a `load` row (scripts/rows.lua), times in pool ms."""

    queued_tokens: int = 0
    prompts: int = 0
    progress_since_ms: int = 0
    requests: int = 0
    dispatched: int = 0
    unseen_kv_tokens: int = 0
    engine_kv_tokens: int = 0
    growth_tokens: int = 0


class SeenRank(msgspec.Struct, frozen=True):
    """What was last heard of a rank: the fields of a `seen` row (scripts/rows.lua), times in pool ms."""

    incarnation: str
    state: RankState
    drained: bool
    sampled_ms: int
    foreign_requests: int
    foreign_kv_tokens: int
    prefill_tokens_per_s: float
    owner: str
    running: int


class Loads(msgspec.Struct, frozen=True):
    """The loads a cost is computed from (docs/design.md, "What load is")."""

    queued_tokens: float
    requests: float
    kv_tokens: float


def parse_book(row: str) -> BookLoad:
    """A `load` row; an empty one is no load. Raises ValueError for anything else."""
    if not row:
        return BookLoad()
    fields = [_whole(field) for field in row.split(" ")]
    if len(fields) != len(BookLoad.__struct_fields__):
        raise ValueError(f"{len(fields)} fields in a load row")
    return BookLoad(*fields)


def parse_seen(row: str) -> SeenRank:
    """A `seen` row. Raises ValueError if it is not one."""
    incarnation, state, drained, sampled, foreign, foreign_kv, rate, owner, _heard, _card, running, *_ = row.split(" ")
    if not float(rate) > 0:
        raise ValueError("a rank without a prefill rate cannot be priced")
    return SeenRank(
        incarnation=incarnation,
        state=RankState(state),
        drained=drained == "1",
        sampled_ms=_whole(sampled),
        foreign_requests=_whole(foreign),
        foreign_kv_tokens=_whole(foreign_kv),
        prefill_tokens_per_s=float(rate),
        owner=owner,
        running=_whole(running),
    )


def _whole(field: str) -> int:
    value = int(field)
    if abs(value) > LARGEST:
        raise ValueError("a number that Lua does not hold")
    return value


def loads_at(book: BookLoad, seen: SeenRank, now_ms: float) -> Loads:
    """The rank's loads at pool time `now_ms`: progress credited, what the engine said faded by its age."""
    done = 0.0
    if book.prompts:
        elapsed_s = max(0.0, now_ms - book.progress_since_ms) / 1000
        done = min(elapsed_s * seen.prefill_tokens_per_s, book.queued_tokens / book.prompts)
    age_ms = now_ms - seen.sampled_ms
    trust = max(0.0, min(1.0, (FORGOTTEN_MS - age_ms) / (FORGOTTEN_MS - FRESH_MS)))
    kv_tokens = book.unseen_kv_tokens + book.engine_kv_tokens + book.growth_tokens + trust * seen.foreign_kv_tokens
    return Loads(book.queued_tokens - done, book.requests + trust * seen.foreign_requests, max(0.0, kv_tokens))
