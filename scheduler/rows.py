"""The rows that are told of a rank, as scripts/rows.lua spells them, read into values. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from types import MappingProxyType

import msgspec

from scheduler.messages import RankState

LARGEST = 1 << 53
"""Up to here Lua's numbers, and floats, are exact."""
LEAST_RATE, LARGEST_RATE = 1e-3, 1e12
"""Prefill tokens/s; beyond them a cost in seconds is no number that JSON carries."""
KEPT = 4_096
"""Rows of each kind that are kept as read: most ranks of a delta are there for one of theirs alone."""

_STATES = MappingProxyType({state.value: state for state in RankState})


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
    """What was last heard of a rank: the fields of a `seen` row, times in pool ms."""

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


@lru_cache(KEPT)
def parse_book(row: str) -> BookLoad:
    """A `load` row; an empty one is no load. Raises ValueError for anything else."""
    if not row:
        return BookLoad()
    numbers = _whole(row.split(" "))
    if len(numbers) != len(BookLoad.__struct_fields__):
        raise ValueError(f"{len(numbers)} fields in a load row")
    return BookLoad(*numbers)


@lru_cache(KEPT)
def parse_seen(row: str) -> SeenRank:
    """A `seen` row. Raises ValueError if it is not one."""
    incarnation, state, drained, sampled, foreign, foreign_kv, rate, owner, heard, _card, running, *last = row.split(
        " "
    )
    if not LEAST_RATE <= float(rate) <= LARGEST_RATE:
        raise ValueError("a rank without a credible prefill rate cannot be priced")
    if state not in _STATES:
        raise ValueError("a state that nobody knows")
    sampled_ms, foreign_requests, foreign_kv_tokens, heard_ms, running_requests = _whole(
        (sampled, foreign, foreign_kv, heard, running)
    )
    return SeenRank(
        incarnation,
        _STATES[state],
        drained == "1",
        sampled_ms,
        foreign_requests,
        foreign_kv_tokens,
        float(rate),
        owner,
        heard_ms,
        running_requests,
        _computed(last[0]) if last else None,
    )


def _computed(last: str) -> int | None:
    _, told, computed = last.partition("@")
    return _whole((computed,))[0] if told else None


def _whole(fields: Iterable[str]) -> list[int]:
    numbers = list(map(int, fields))
    if min(numbers) < -LARGEST or max(numbers) > LARGEST:
        raise ValueError("a number that Lua does not hold")
    return numbers
