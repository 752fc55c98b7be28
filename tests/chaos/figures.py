"""What a run amounts to, by kind of fault. Pure."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tests.chaos.kinds import MENDED_WITHIN_S
from tests.chaos.outcome import Outcome

QUIET = "no fault"
BAD = ("lost", "silent", "wrong", "hung")


class Injected(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that was: from its beginning to when its repair was done, `retries` by the gateways' own count."""

    number: int
    kind: str
    target: int
    begin_s: float
    repaired_s: float
    retries: int = 0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One kind. Requests are those in flight from a fault's beginning until shortly after its repair.

    `retried` is what gateways tried again, `moved` are requests whose own gateway died, tried again by their client.
    `ended` had begun and ended with an error, `failed` is by what went wrong. `added_ms` is the longest time to the
    first byte beyond what is usual, of requests whose gateway lived; None where there is none.
    """

    kind: str
    injected: int
    requests: int
    whole: int
    left: int
    retried: int
    moved: int
    ended: dict[str, int]
    failed: dict[str, int]
    added_ms: int | None


class Usual(msgspec.Struct, frozen=True):
    """Times to the first byte when nothing is wrong, by whether the prompt is long; and per token."""

    first_byte_s: Mapping[bool, float]
    token_s: float

    def beyond_s(self, each: Outcome) -> float | None:
        """How much longer than usual this one's first byte took."""
        if each.first_byte_s is None or each.judgment == "left":
            return None
        usual_s = self.first_byte_s.get(each.is_long, 0.0) + (0 if each.stream else each.tokens * self.token_s)
        return max(0.0, each.first_byte_s - each.sent_s - usual_s)


def usual(quiet: Iterable[Outcome]) -> Usual:
    """From streams that no fault has touched."""
    streams = [each for each in quiet if each.stream and each.judgment == "whole" and each.first_byte_s]
    first: dict[bool, float] = {}
    for is_long in (False, True):
        times = [each.first_byte_s - each.sent_s for each in streams if each.is_long == is_long and each.first_byte_s]
        if times:
            first[is_long] = statistics.median(times)
    paces = [(each.ended_s - (each.first_byte_s or 0)) / each.tokens for each in streams]
    return Usual(first, statistics.median(paces) if paces else 0.0)


def cause_of(each: Outcome, faults: Sequence[Injected]) -> Injected | None:
    """The fault that met the request: the last that was there when it was sent, else the first that came before it was
    over, else the last one whose traces may still have been there.
    """
    there = [fault for fault in faults if fault.begin_s <= each.sent_s <= fault.repaired_s]
    if there:
        return max(there, key=lambda fault: fault.begin_s)
    came = [fault for fault in faults if each.sent_s <= fault.begin_s <= each.ended_s]
    if came:
        return min(came, key=lambda fault: fault.begin_s)
    traces = [fault for fault in faults if fault.repaired_s <= each.sent_s <= fault.repaired_s + MENDED_WITHIN_S]
    return max(traces, key=lambda fault: fault.repaired_s, default=None)


def by_kind(outcomes: Iterable[Outcome], faults: Sequence[Injected]) -> list[Row]:
    """A row for each kind that was injected, and the last for requests that no fault touched."""
    touched: dict[str, list[Outcome]] = {fault.kind: [] for fault in sorted(faults, key=lambda each: each.kind)}
    touched[QUIET] = []
    for each in outcomes:
        cause = cause_of(each, faults)
        touched[cause.kind if cause else QUIET].append(each)
    norm = usual(touched[QUIET])
    return [
        _row(kind, found, [fault for fault in faults if fault.kind == kind], norm) for kind, found in touched.items()
    ]


def added_up(rows: Iterable[Sequence[Row]]) -> list[Row]:
    """Rows of several stages as one table."""
    found: dict[str, Row] = {}
    for row in sorted((row for some in rows for row in some), key=lambda row: (row.kind == QUIET, row.kind)):
        had = found.get(row.kind)
        found[row.kind] = row if had is None else _sum(had, row)
    return list(found.values())


def short(why: str) -> str:
    """A reason without what differs from request to request, so that equal ones can be counted."""
    why = re.sub(r'\{"error":\{"message":"([^"]*).*', r"\1", why)
    return " ".join(
        word for word in why.split() if not any(character.isdigit() for character in word.rstrip(":")) or len(word) <= 3
    )


def _row(kind: str, outcomes: Sequence[Outcome], faults: Sequence[Injected], norm: Usual) -> Row:
    added = [beyond for each in outcomes if (beyond := norm.beyond_s(each)) is not None]
    return Row(
        kind=kind,
        injected=len(faults),
        requests=len(outcomes),
        whole=sum(each.judgment == "whole" for each in outcomes),
        left=sum(each.judgment == "left" for each in outcomes),
        retried=sum(fault.retries for fault in faults),
        moved=sum(bool(each.died) for each in outcomes),
        ended=dict(Counter(short(each.why) for each in outcomes if each.judgment == "ended")),
        failed=dict(Counter(f"{each.judgment}: {short(each.why)}" for each in outcomes if each.judgment in BAD)),
        added_ms=round(1000 * max(added)) if added else None,
    )


def _sum(one: Row, other: Row) -> Row:
    return Row(
        kind=one.kind,
        injected=one.injected + other.injected,
        requests=one.requests + other.requests,
        whole=one.whole + other.whole,
        left=one.left + other.left,
        retried=one.retried + other.retried,
        moved=one.moved + other.moved,
        ended=dict(Counter(one.ended) + Counter(other.ended)),
        failed=dict(Counter(one.failed) + Counter(other.failed)),
        added_ms=max((each for each in (one.added_ms, other.added_ms) if each is not None), default=None),
    )
