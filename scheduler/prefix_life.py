"""For how long the blocks of a prompt are to be known: until the ranks that were given it may have forgotten it. Pure.

A rank holds what it used until its odometer has moved by its span (prefix_holders.py), so that depends on how fast it
computes. Were the blocks known for a fixed time, a busy rank would leave keys of many times what its cache holds. They
are known for twice as long as its span takes at the rate at which it computed lately: at a steady load the keys of a
rank are of twice its span, whatever the load is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scheduler.prefix_holders import tag_of
from scheduler.rank_view import RankView

MARGIN = 2.0
"""A rank may come to compute so many times as slowly as lately and is still known to hold what it holds."""
WINDOW_MS = 300_000
"""Lately is one to two of these: a pause between two bursts of requests is no end of them."""
LATENCY_MS = 2_000
"""A sample that is reported again may seem older by less: reporting takes now longer, now shorter."""
BUSY_SHARE = 0.25
"""Of its prefill rate, which is what a rank is taken to compute before a window was seen of it."""
SHORTEST_MS = 60_000
LONGEST_MS = 7_200_000
"""Two hours, in which a rank of two million tokens is filled at 420 tokens a second. Who computes less has few keys."""
MOST_RANKS = 16_384
"""Whose pace is kept; those that were given a prompt longest ago are forgotten."""


class _Mark(NamedTuple):
    """What the odometer of a life showed at a pool time."""

    tag: str
    ms: int
    odometer: int


class PrefixLife:
    """How fast the ranks of a pool computed lately, from what was read of them whenever a prompt was placed there."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[_Mark, _Mark]] = {}

    def known_ms(self, ranks: Sequence[RankView], uncached_tokens: int) -> int:
        """For how long the blocks of a prompt are to be known that was placed on these ranks.

        The longest that one of them takes to compute what is queued there, the prompt's `uncached_tokens` and a span.
        """
        return round(min(max(SHORTEST_MS, *(self._filled_ms(rank, uncached_tokens) for rank in ranks)), LONGEST_MS))

    def _filled_ms(self, rank: RankView, uncached_tokens: int) -> float:
        tokens = rank.book.queued_tokens + uncached_tokens + rank.card.kv_capacity_tokens
        return 1000 * tokens / max(self._least_rate(rank), 1e-3)

    def _least_rate(self, rank: RankView) -> float:
        """The tokens a second that it is believed to compute at least."""
        if rank.seen.computed_tokens is None:
            return BUSY_SHARE * rank.seen.prefill_tokens_per_s
        now = _Mark(tag_of(rank), rank.seen.sampled_ms, rank.seen.computed_tokens)
        older, newer = self._marks.pop(rank.card.rank, (now, now))
        if now.tag != newer.tag or now.ms < newer.ms - LATENCY_MS or now.odometer < newer.odometer:
            older = newer = now
        elif now.ms - newer.ms >= WINDOW_MS:
            older, newer = newer, now
        self._marks[rank.card.rank] = older, newer
        if len(self._marks) > MOST_RANKS:
            del self._marks[next(iter(self._marks))]
        passed_ms = max(now.ms, newer.ms) - older.ms
        if passed_ms < WINDOW_MS:
            return BUSY_SHARE * rank.seen.prefill_tokens_per_s
        return 1000 * (now.odometer - older.odometer) / passed_ms / MARGIN
