"""The circuit breaker of one life of a rank: what its attempts said, and what follows from it. Pure.

All of it is one row of the store, which every gateway reads with its snapshots; times are pool time in ms.

| state | when | next |
|---|---|---|
| closed | else | open, when of the attempts of the last 10 s at least 3, and at least half, went badly |
| open | for 2 s, twice as long after each probe that went badly, 30 s at most | half-open |
| half-open | one gateway at a time may send one request | well, or unprobed for 60 s: closed; badly: open |

A rank whose breaker has closed, or that came up anew, starts slowly (slow_start.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

import msgspec

from scheduler.rows import LARGEST

WINDOW_S = 10
FAILURES = 3
FAILED_SHARE = 0.5
SETTLE_MS = 500
"""From the first failure on a breaker waits so long before it opens for all: gateways tell of what went well only where
something failed, and the others read of that with their next snapshot. Who saw the failures acts at once."""
OPEN_MS, OPEN_MOST_MS = 2_000, 30_000
TICKET_MS = 3_000
"""How long the right to probe is held by a gateway that does not renew it."""
UNPROBED_MS = 60_000
"""So long without an answer, and nobody waits for one: then there are hardly any requests, and the next one may as well
try the rank. A ticket that is claimed and not used ends before it can be claimed again, and the wait with it."""
RAMP_MS = 10_000
"""How long a rank that came back starts slowly."""
SKEW_MS = 5_000
"""By no more pool time differs as two gateways know it: each counts on from its last snapshot."""
NEVER = -1
NOBODY = "-"
KEPT = 1_024
"""Rows that are kept as read."""


class BreakerState(StrEnum):
    """What a breaker is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Heard(NamedTuple):
    """How attempts went in one second of pool time."""

    second: int
    badly: int
    well: int


class Breaker(msgspec.Struct, frozen=True):
    """The breaker of one life. It is not closed while `trips` counts how often in a row it has opened.

    `since_ms`: the first of the failures that are counted. `holder` has the ticket to probe until `ticket_until_ms`.
    `back_ms` is when the rank came back.
    """

    incarnation: str
    since_ms: int = 0
    trips: int = 0
    open_until_ms: int = 0
    holder: str = NOBODY
    ticket_until_ms: int = 0
    back_ms: int = NEVER
    heard: tuple[Heard, ...] = ()

    @property
    def is_suspect(self) -> bool:
        """Whether it counts attempts: it is closed, and some went badly of late. Then what went well is told, too."""
        return not self.trips and any(each.badly for each in self.heard)

    def row(self) -> str:
        """As it stands in the store; see `parse_breaker`."""
        heard = ",".join(f"{second}:{badly}:{well}" for second, badly, well in self.heard)
        numbers = f"{self.since_ms} {self.trips} {self.open_until_ms} {self.holder} {self.ticket_until_ms}"
        return f"{self.incarnation} {numbers} {self.back_ms} {heard or NOBODY}"

    def state(self, now_ms: float) -> BreakerState:
        """What it is at a pool time. A row of times that are still far off is another epoch's."""
        if not self.trips:
            return BreakerState.OPEN if is_due(self, now_ms) else BreakerState.CLOSED
        left_ms = self.open_until_ms - now_ms
        is_unprobed = left_ms <= -UNPROBED_MS and not self.is_held(now_ms)
        if left_ms > OPEN_MOST_MS + SKEW_MS or is_unprobed:
            return BreakerState.CLOSED
        return BreakerState.OPEN if left_ms > 0 else BreakerState.HALF_OPEN

    def is_held(self, now_ms: float) -> bool:
        """Whether somebody has the ticket to probe its rank."""
        return self.holder != NOBODY and 0 < self.ticket_until_ms - now_ms <= TICKET_MS + SKEW_MS

    def can_be_claimed(self, now_ms: float) -> bool:
        """Whether it waits for somebody to probe its rank."""
        return self.state(now_ms) is BreakerState.HALF_OPEN and not self.is_held(now_ms)


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway, `by` its name here, has to say of a life: what it `heard` of it, how its own probe went, that it
    wants the ticket (or keeps it) or gives it back, that the rank came back.
    """

    by: str
    incarnation: str
    heard: tuple[Heard, ...] = ()
    probe_went_well: bool | None = None
    claims: bool = False
    gives_back: bool = False
    came_back: bool = False

    @property
    def is_by_ticket(self) -> bool:
        """Whether it counts only of who holds the ticket, which a row that was read too early does not say."""
        return self.gives_back or self.probe_went_well is not None


@lru_cache(KEPT)
def parse_breaker(row: str) -> Breaker:
    """A row of the store. Raises ValueError if it is none."""
    incarnation, since, trips, until, holder, ticket, back, heard = row.split(" ")
    since_ms, counted, until_ms, ticket_ms, back_ms = map(int, (since, trips, until, ticket, back))
    words = [] if heard == NOBODY else [Heard(*map(int, word.split(":"))) for word in heard.split(",")]
    numbers = (since_ms, counted, until_ms, ticket_ms, max(0, back_ms), *(number for word in words for number in word))
    if min(numbers) < 0 or max(numbers) > LARGEST or back_ms < NEVER or len(words) > WINDOW_S + 1:
        raise ValueError("no breaker")
    return Breaker(incarnation, since_ms, counted, until_ms, holder, ticket_ms, back_ms, tuple(words))


def known_breaker(row: str, incarnation: str) -> Breaker | None:
    """The breaker in a row, if it is one of this life: what cannot be read of it keeps nobody from the rank."""
    try:
        found = parse_breaker(row) if row else None
    except (ValueError, TypeError):
        return None
    return found if found and found.incarnation == incarnation else None


def failed_too_often(heard: Iterable[Heard]) -> bool:
    """Whether attempts that went so make a rank be left out."""
    words = list(heard)
    badly, well = sum(each.badly for each in words), sum(each.well for each in words)
    return badly >= FAILURES and badly >= FAILED_SHARE * (badly + well)


def of_late(heard: Iterable[Heard], now_ms: float) -> tuple[Heard, ...]:
    """Those of the last 10 s."""
    second = int(now_ms) // 1000
    return tuple(each for each in heard if second - WINDOW_S < each.second <= second + 1)


def is_due(breaker: Breaker, now_ms: float) -> bool:
    """Whether a closed breaker is to open."""
    settled = bool(breaker.heard) and now_ms - breaker.since_ms >= SETTLE_MS
    return settled and failed_too_often(of_late(breaker.heard, now_ms))


def edited(breaker: Breaker | None, edit: Edit, now_ms: int) -> Breaker | None:
    """What becomes of the breaker that is in the store; None where nothing is to be remembered of its life."""
    if breaker is None or breaker.incarnation != edit.incarnation:
        breaker = Breaker(edit.incarnation)
    breaker = _in_time(breaker, now_ms)
    if breaker.holder == edit.by and edit.probe_went_well is not None:
        breaker = _probed(breaker, now_ms, well=edit.probe_went_well)
    if breaker.holder == edit.by and edit.gives_back:
        breaker = msgspec.structs.replace(breaker, holder=NOBODY)
    is_mine = breaker.holder == edit.by and breaker.state(now_ms) is BreakerState.HALF_OPEN
    if edit.claims and (is_mine or breaker.can_be_claimed(now_ms)):
        breaker = msgspec.structs.replace(breaker, holder=edit.by, ticket_until_ms=now_ms + TICKET_MS)
    if edit.came_back and not breaker.trips and not is_coming_back(breaker, now_ms):
        breaker = msgspec.structs.replace(breaker, back_ms=now_ms)
    breaker = _in_time(_told(breaker, edit.heard, now_ms), now_ms)
    is_spent = not breaker.trips and not breaker.is_suspect and not is_coming_back(breaker, now_ms)
    return None if is_spent else breaker


def is_coming_back(breaker: Breaker, now_ms: float) -> bool:
    """Whether its rank starts slowly at a pool time."""
    return breaker.back_ms != NEVER and -RAMP_MS < now_ms - breaker.back_ms < RAMP_MS


def _in_time(breaker: Breaker, now_ms: int) -> Breaker:
    """What it became by the time alone."""
    if breaker.trips:
        is_closed = breaker.state(now_ms) is BreakerState.CLOSED
        return Breaker(breaker.incarnation, back_ms=now_ms) if is_closed else breaker
    if is_due(breaker, now_ms):
        return _opened(breaker, 1, now_ms)
    late = msgspec.structs.replace(breaker, heard=of_late(breaker.heard, now_ms))
    return late if late.is_suspect else msgspec.structs.replace(late, since_ms=0, heard=())


def _opened(breaker: Breaker, trips: int, now_ms: int) -> Breaker:
    for_ms = min(OPEN_MOST_MS, OPEN_MS << min(trips - 1, 10))
    return Breaker(breaker.incarnation, trips=trips, open_until_ms=now_ms + for_ms)


def _probed(breaker: Breaker, now_ms: int, *, well: bool) -> Breaker:
    if breaker.state(now_ms) is not BreakerState.HALF_OPEN:
        return breaker
    return Breaker(breaker.incarnation, back_ms=now_ms) if well else _opened(breaker, breaker.trips + 1, now_ms)


def _told(breaker: Breaker, heard: Iterable[Heard], now_ms: int) -> Breaker:
    """With more attempts; while it is not closed nothing depends on them."""
    more = () if breaker.trips else of_late(heard, now_ms)
    if not more:
        return breaker
    counts = {each.second: each for each in breaker.heard}
    for second, badly, well in more:
        _, badly_before, well_before = counts.get(second, Heard(second, 0, 0))
        counts[second] = Heard(second, badly_before + badly, well_before + well)
    since_ms = breaker.since_ms if breaker.is_suspect else now_ms
    return msgspec.structs.replace(breaker, since_ms=since_ms, heard=tuple(counts[at] for at in sorted(counts)))
