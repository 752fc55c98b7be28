"""Which requests may be placed a second time because their first byte is late, and when. Pure.

J. Dean, L. A. Barroso, The Tail at Scale, 2013: a second request after the 95th percentile costs a few per cent more
work and takes most of the tail away. Where the tail is there because ranks are full, more work makes it worse, so
hedges are few whatever the times say.
"""

from __future__ import annotations

from collections import defaultdict

from gateway import response_id
from gateway.first_byte_times import FirstByteTimes, SizeClass, class_of
from gateway.retry import Tries
from gateway.routes import Kind, Route
from gateway.wire import Api, Fields
from scheduler.decision import Place, RequestShape

SHARE = 0.05
"""At most so many hedges for each request."""

SAVED = 10.0
"""How many of them may be saved up by requests that needed none."""

KINDS = frozenset({Kind.PAIRABLE, Kind.GENERATING, Kind.COMPUTING})


def may_be_hedged(route: Route, fields: Fields, place: Place, tries: Tries) -> bool:
    """Whether two ranks may work on a request at once: its first try, on one rank, which keeps nothing of it.

    Not a pair's: its prefill would have to be had twice, and the KV of the one that loses be freed.
    """
    is_kept = route.api is Api.RESPONSES and response_id.is_to_be_kept(fields)
    return route.kind in KINDS and not is_kept and len(place.legs) == 1 and tries.placements == 1 and tries.holds_back


class Hedging:
    """What one gateway has learned, and how many hedges it may make."""

    def __init__(self) -> None:
        self._times: defaultdict[str, FirstByteTimes] = defaultdict(FirstByteTimes)
        self._left = 0.0

    def after_s(self, pool: str, size: SizeClass) -> float | None:
        """A request begins: when to hedge it, in seconds; None: not at all, too little is known."""
        self._left = min(SAVED, self._left + SHARE)
        return self._times[pool].p95_s(size)

    def take(self) -> bool:
        """Whether there may be one more hedge; it counts then."""
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def learn(self, pool: str, size: SizeClass, seconds: float) -> None:
        """An answer's first byte came after so long."""
        self._times[pool].observe(size, seconds)


def size_of(shape: RequestShape, *, streamed: bool) -> SizeClass:
    """The class that a request's times are learned in."""
    return class_of(shape.prompt_tokens, shape.output_tokens, streamed=streamed)
