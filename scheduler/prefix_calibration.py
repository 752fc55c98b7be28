"""For how long a rank is believed to hold what it used, put right by what its engine finds in its prefix cache. Pure.

A rank's cache may be smaller than its card says (tenants apart by salts, running requests that fill it), be switched
off though it counts, or be emptied. So what gateways believed to be cached of the prompts that it has computed is
compared, window by window, with what the engine counted as found. What was believed is kept apart by its age: how much
the rank has computed since it was last used, in classes that double (`EDGES`). A cache that forgets what it used
longest ago finds all of the younger classes and nothing of the older ones, so the found tokens tell how far it reaches.

- The span in which blocks are believed to stay goes down to twice that, by a little for each window, and never below
  `EDGES[0]`; it goes up at once, to what the card says. To believe a cache too small is ruinous; one and a half times
  too large lets decode ranks prefill what they do not hold after all.
- Where nothing was found, all that was used before is forgotten. If that happens again, nothing is believed for a
  while, for longer each time.

Hits that nobody believed in, of other routers or of less than a block, only ever lengthen the span.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import msgspec

EDGES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""The oldest of each class of ages, of the capacity that the card says."""
SHRINK = 0.8
WINDOW_SHARE = 0.5
"""Of the capacity: so many tokens believed or found make a window."""
NOTHING = 0.05
"""Less than this of what was believed is nothing: what many prompts begin with is found in any cache."""
MARGIN = 1.2
"""For what is believed is estimated, and the tokens found are counted. With this a cache is hardly ever taken for
less than it is even where estimates are 20 % too high (in a model of one: tests/scheduler/believed_rank.py)."""
LONGEST_PAUSE = 32
"""Capacities. It ends at once where something is found after all."""

Believed = tuple[int, ...]
"""Prompt tokens that a rank was believed to hold when it was given them to compute, by the class of their age."""
NO_BELIEF: Believed = (0,) * len(EDGES)


def age_class(age_tokens: float, capacity_tokens: int) -> int:
    """The class of what was last used so many computed tokens ago."""
    return min(bisect_left(EDGES, age_tokens / capacity_tokens), len(EDGES) - 1)


class CacheBelief(NamedTuple):
    """What is told of a rank's prefix cache: its span, and of its life so far what was believed and what was found."""

    span_tokens: int
    believed_tokens: int
    found_tokens: int


class Counts(msgspec.Struct, frozen=True):
    """Of one life of a rank so far: what all gateways believed, and how many tokens its engine found."""

    believed: Believed
    found: int


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one life of a rank. `window` are the counts at the start of the running window, None before any.

    `share` of the longest span is believed. `forgotten_at` is the odometer (prefix_holders.py) before which nothing
    counts that was used, None where all does; it may lie ahead.
    """

    capacity_tokens: int
    share: float = 1.0
    forgotten_at: int | None = None
    pause_tokens: int = 0
    window: Counts | None = None

    def span_tokens(self, computed_tokens: int) -> int:
        """For how many more computed tokens a block is believed to stay; 0: nothing is held. `computed_tokens` now."""
        longest = round(self.share * self.capacity_tokens)
        return longest if self.forgotten_at is None else max(0, min(longest, computed_tokens - self.forgotten_at))

    def after(self, counts: Counts, computed_tokens: int) -> Calibration:
        """With the latest counts; the same until a window is full. Counts that fell were lost, and begin anew."""
        window = self.window
        if window is None:
            return msgspec.structs.replace(self, window=counts)
        believed = tuple(now - then for now, then in zip(counts.believed, window.believed, strict=True))
        found = counts.found - window.found
        if min(*believed, found) < 0:
            return msgspec.structs.replace(self, window=counts)
        if max(sum(believed), found) < WINDOW_SHARE * self.capacity_tokens:
            return self
        judged = self._emptied if found < NOTHING * sum(believed) else self._spanned
        return msgspec.structs.replace(judged(believed, found, computed_tokens), window=counts)

    def _emptied(self, _believed: Believed, _found: int, computed_tokens: int) -> Calibration:
        least = round(WINDOW_SHARE * self.capacity_tokens)
        longer = min(max(2 * self.pause_tokens, least), LONGEST_PAUSE * self.capacity_tokens)
        return msgspec.structs.replace(self, forgotten_at=computed_tokens + self.pause_tokens, pause_tokens=longer)

    def _spanned(self, believed: Believed, found: int, computed_tokens: int) -> Calibration:
        share = min(1.0, max(2 * _reach(believed, MARGIN * found, self.share), SHRINK * self.share))
        forgotten_at = self.forgotten_at and min(self.forgotten_at, computed_tokens)
        return msgspec.structs.replace(self, share=share, forgotten_at=forgotten_at, pause_tokens=0)


def _reach(believed: Believed, found: float, share: float) -> float:
    """The youngest age up to which as much was believed as was found; all of the believed `share` where more was."""
    up_to = 0
    for edge, tokens in zip(EDGES, believed, strict=True):
        up_to += tokens
        if up_to >= found:
            return min(edge, share)
    return share
