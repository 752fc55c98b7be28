"""The rows that are told of a rank, as scripts/rows.lua spells them, read into values. Pure."""

from __future__ import annotations

import msgspec

from scheduler.messages import RankState

LARGEST = 1 << 53
"""Up to here Lua's numbers, and floats, are exact."""
LEAST_RATE, LARGEST_RATE = 1e-3, 1e12
"""Prefill tokens/s; beyond them a cost in seconds is no number that JSON carries."""

_UNKNOWN = (None,) * 4


class BookLoad(msgspec.Struct, frozen=True):
    """What the reservations on a rank add up to: the fields of a `load` row, times in pool ms."""

    queued_tokens: int = 0
    prompts: int = 0
    progress_since_ms: int = 0
    requests: int = 0
    dispatched: int = 0
    unseen_kv_tokens: int = 0
    engine_kv_tokens: int = 0
    growth_tokens: int = 0


class SeenRank(msgspec.Struct, frozen=True):
    """What was last heard of a rank: the fields of a `seen` row, times in pool ms.

    None of the last four is told of a rank whose prefix cache nobody knows, only the first by an agent that does not
    compare what is believed of it with what is found.
    """

    incarnation: str
    state: RankState
    drained: bool
    sampled_ms: int
    foreign_requests: int
    foreign_kv_tokens: int
    prefill_tokens_per_s: float
    owner: str
    heard_ms: int
    running: int
    computed_tokens: int | None = None
    cache_span_tokens: int | None = None
    believed_tokens: int | None = None
    found_tokens: int | None = None


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
    incarnation, state, drained, sampled, foreign, foreign_kv, rate, owner, heard, _card, running, *last = row.split(
        " "
    )
    if not LEAST_RATE <= float(rate) <= LARGEST_RATE:
        raise ValueError("a rank without a credible prefill rate cannot be priced")
    computed, span, believed, found = _cache(last[0]) if last else _UNKNOWN
    return SeenRank(
        incarnation=incarnation,
        state=RankState(state),
        drained=drained == "1",
        sampled_ms=_whole(sampled),
        foreign_requests=_whole(foreign),
        foreign_kv_tokens=_whole(foreign_kv),
        prefill_tokens_per_s=float(rate),
        owner=owner,
        heard_ms=_whole(heard),
        running=_whole(running),
        computed_tokens=computed,
        cache_span_tokens=span,
        believed_tokens=believed,
        found_tokens=found,
    )


def _cache(last: str) -> tuple[int | None, ...]:
    _, told, cache = last.partition("@")
    fields = tuple(map(_whole, cache.split("/"))) if told else ()
    if len(fields) > len(_UNKNOWN):
        raise ValueError(f"{len(fields)} fields of a prefix cache")
    return (*fields, *_UNKNOWN[len(fields) :])


def _whole(field: str) -> int:
    value = int(field)
    if abs(value) > LARGEST:
        raise ValueError("a number that Lua does not hold")
    return value
