"""When a request of an API key is within the key's limits. Pure.

Requests and tokens a minute are limited by the generic cell rate algorithm in its form as a continuous-state leaky
bucket (ITU-T I.371; ATM Forum Traffic Management 4.0, section 4.4.2): what a request takes fills a bucket that drains
at the limit and holds a minute of it. So never more than limit x (1 + minutes) pass in any span of time, and no window
begins at which all that was refused may come at once. The other form of the algorithm keeps the time at which the
bucket will be empty; a clock that is set back would then lock a key out.

scripts/limit.lua is the same rule on what all gateways share; a test runs both on the same sequences. Levels are in
60,000ths of a request or token, so what drains in a millisecond is a whole number: the limit itself.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import msgspec

SPAN = 60_000
"""Milliseconds of a minute, and so the parts in which levels are counted."""
MOST_MINUTES = 60
"""For no longer a key is in debt, however much more than expected its requests have used."""
MOST = 10**9
"""The largest limit. With it every level is a whole number that a double holds exactly: 60 x 60,000 x 10^9 < 2^53."""

Limit = Annotated[int, msgspec.Meta(ge=0, le=MOST)]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one key may use; 0 means that there is no such limit."""

    requests_per_minute: Limit = 0
    tokens_per_minute: Limit = 0
    requests_at_once: Limit = 0

    @property
    def are_any(self) -> bool:
        """Whether anything is limited."""
        return bool(self.requests_per_minute or self.tokens_per_minute or self.requests_at_once)

    def share(self, gateways: int) -> Limits:
        """What one of so many gateways lets in by itself: its part of each limit, and 1 at least."""
        of = [limit and max(1, limit // max(1, gateways)) for limit in msgspec.structs.astuple(self)]
        return Limits(requests_per_minute=of[0], tokens_per_minute=of[1], requests_at_once=of[2])


class Verdict(IntEnum):
    """What becomes of a request that asks; limit.lua answers the same numbers."""

    ADMITTED = 0
    REQUESTS = 1
    TOKENS = 2
    AT_ONCE = 3


class Levels(msgspec.Struct, frozen=True):
    """What a key has used and what has not drained yet, in 60,000ths."""

    requests: int = 0
    tokens: int = 0


EMPTY = Levels()


class Answer(msgspec.Struct, frozen=True):
    """What becomes of a request, and the levels after it in buckets of these limits: the key's, or a share of them."""

    verdict: Verdict
    levels: Levels
    limits: Limits


def drained(levels: Levels, limits: Limits, elapsed_ms: int) -> Levels:
    """The levels so much later; a clock that went back drains nothing."""
    step = max(0, elapsed_ms)
    return Levels(
        max(0, levels.requests - limits.requests_per_minute * step),
        max(0, levels.tokens - limits.tokens_per_minute * step),
    )


def noted(levels: Levels, limits: Limits, more: Levels) -> Levels:
    """The levels with what was used beside what was asked for; less is negative."""
    return Levels(
        _bounded(levels.requests + more.requests, limits.requests_per_minute),
        _bounded(levels.tokens + more.tokens, limits.tokens_per_minute),
    )


def _bounded(level: int, limit: int) -> int:
    return max(0, min(level, limit * SPAN * MOST_MINUTES))


def judge(levels: Levels, limits: Limits, running: int, tokens: int) -> Verdict:
    """Whether a request of so many tokens is let in beside those `running`.

    An empty bucket takes any: of a share of a limit some requests would never fit. One without tokens is not held up
    by the tokens of others.
    """
    if 0 < limits.requests_at_once <= running:
        return Verdict.AT_ONCE
    if _is_over(levels.requests, SPAN, limits.requests_per_minute):  # of what is not limited the level is 0
        return Verdict.REQUESTS
    if tokens and _is_over(levels.tokens, tokens * SPAN, limits.tokens_per_minute):
        return Verdict.TOKENS
    return Verdict.ADMITTED


def _is_over(level: int, more: int, limit: int) -> bool:
    return level > 0 and level + more > limit * SPAN


def taken(levels: Levels, limits: Limits, tokens: int) -> Levels:
    """The levels once a request of so many tokens is let in."""
    return Levels(
        levels.requests + (SPAN if limits.requests_per_minute else 0),
        levels.tokens + (tokens * SPAN if limits.tokens_per_minute else 0),
    )


def wait_ms(level: int, more: int, limit: int) -> int:
    """How long it takes until `more` (in 60,000ths) fits in beside a level; 0 where there is no limit."""
    if not limit:
        return 0
    return max(0, -(-min(level, level + more - limit * SPAN) // limit))
