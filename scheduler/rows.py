"""The rows that are told of a rank, as scripts/rows.lua spells them, read into values. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from types import MappingProxyType

import msgspec

from scheduler.messages import RankState, Source

LARGEST = 1 << 53
"""Up to here Lua's numbers, and floats, are exact."""
LEAST_RATE, LARGEST_RATE = 1e-3, 1e12
"""Prefill tokens/s; beyond them a cost in seconds is no number that JSON carries."""
SEEN_FIELDS = 11
"""Of a `seen` row, before the one that an older release overlooks."""
CACHE_FIELDS = 4
"""Of a `seen` row, the last ones, which may be missing from the end."""
PUSHED = "push;"
"""Begins the last field of a `seen` row whose sample was pushed. Older releases overlook it where it stands."""
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
    """What was last heard of a rank: the fields of a `seen` row, times in pool ms.

    None of the four numbers at the end is told of a rank whose prefix cache nobody knows, only the first by an agent
    that does not compare what is believed of it with what is found.
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
    source: Source = Source.PAGE
    computed_tokens: int | None = None
    cache_span_tokens: int | None = None
    believed_tokens: int | None = None
    found_tokens: int | None = None


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
    prefill_tokens_per_s = float(rate)
    if not LEAST_RATE <= prefill_tokens_per_s <= LARGEST_RATE:
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
        prefill_tokens_per_s,
        owner,
        heard_ms,
        running_requests,
        Source.PUSH if last and last[0].startswith(PUSHED) else Source.PAGE,
        *(_cache(last[0]) if last else ()),
    )


def newest_foreign(seen_row: str) -> int:
    """Of a `seen` row: the requests its engine had at the last sample, less those that the ledger had dispatched then.

    The row's own count of foreign requests is the least of two seconds.
    """
    fields = seen_row.split(" ")
    queue = fields[SEEN_FIELDS].partition("@")[0] if len(fields) > SEEN_FIELDS else ""
    return int(queue.rpartition(",")[2].rpartition(":")[2] or fields[4])


def _cache(last: str) -> list[int]:
    """What stands behind the last field of it; nothing of the rest is known."""
    _, told, cache = last.partition("@")
    fields = _whole(cache.split("/")) if told else []
    if len(fields) > CACHE_FIELDS:
        raise ValueError(f"{len(fields)} fields of a prefix cache")
    return fields


def _whole(fields: Iterable[str]) -> list[int]:
    numbers = list(map(int, fields))
    if min(numbers) < -LARGEST or max(numbers) > LARGEST:
        raise ValueError("a number that Lua does not hold")
    return numbers
