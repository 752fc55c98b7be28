"""What Forebay promises, held against what was seen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from tests.chaos.figures import BAD, Injected, Row, cause_of
from tests.chaos.looks import GatewayKill, Resources
from tests.chaos.outcome import Outcome
from tests.chaos.placement_times import quantile_ms, total

LEDGER_S: Final = 3.0
ADDED_MS: Final = 2_000
P99_RATIO: Final = 2.0
LEAST_PLACEMENTS: Final = 200
"""Of fewer placements a p99 is one placement or two, and says nothing."""
GROWTH, GROWTH_BYTES, GROWTH_DESCRIPTORS = 1.5, 40_000_000, 16
IDS_SHOWN: Final = 5
REDIS_CAME_BACK: Final = ("store-failover", "store-kill", "store-term")


class AtRest(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage left behind when nobody asked anything any more."""

    reservations: int
    audits: int
    differences: list[str]
    starving: list[int]
    ended: list[str]
    all_up: bool
    before: dict[str, Resources]
    after: dict[str, Resources]


def broken_by_requests(outcomes: Sequence[Outcome], faults: Sequence[Injected]) -> list[str]:
    """Each promise that requests saw broken, with some of their ids and the faults they met."""
    groups: dict[str, list[Outcome]] = {}
    for each in outcomes:
        if each.judgment in BAD:
            groups.setdefault(each.judgment, []).append(each)
        elif each.judgment == "ended" and cause_of(each, faults) is None:
            groups.setdefault("ended with an error that no fault explains", []).append(each)
    return [f"{len(found)} requests {name}: {_shown(found, faults)}" for name, found in groups.items()]


def broken_by_the_rest(rest: AtRest) -> list[str]:
    """Promises about what is left: an exact ledger, fed ranks, no growth, nobody dead."""
    found = []
    if rest.reservations:
        found.append(f"{rest.reservations} reservations are left at rest (-1: Redis does not answer)")
    if rest.differences:
        found.append(f"{len(rest.differences)} of {rest.audits} audits found drift, first {rest.differences[0]}")
    if rest.starving:
        found.append(f"ranks {rest.starving} got no request after the last repair")
    if not rest.all_up:
        found.append("not every rank is up at the end")
    found += [f"{name} ended by itself" for name in rest.ended]
    for name, had in rest.before.items():
        has = rest.after.get(name, had)
        if has.resident_bytes > max(had.resident_bytes * GROWTH, had.resident_bytes + GROWTH_BYTES):
            found.append(f"{name} grew from {had.resident_bytes >> 20} to {has.resident_bytes >> 20} MiB")
        if has.descriptors > had.descriptors + GROWTH_DESCRIPTORS:
            found.append(f"{name} has {has.descriptors} descriptors at rest, and had {had.descriptors}")
    return found


def broken_by_kills(kills: Sequence[GatewayKill]) -> list[str]:
    """kill -9 of a gateway: its reservations gone in time, the others as quick as before."""
    found = [
        f"{kill.ledger_s:.1f} s after gateway {kill.gateway} was killed its reservations were still in the ledger"
        for kill in kills
        if kill.ledger_s > LEDGER_S
    ]
    before, after = total(kill.before for kill in kills), total(kill.after for kill in kills)
    had, has = quantile_ms(before, 0.99), quantile_ms(after, 0.99)
    if had and has and has > P99_RATIO * had and min(max(before.values()), max(after.values())) >= LEAST_PLACEMENTS:
        found.append(f"others' p99 placement went from {had:.2f} to {has:.2f} ms in the second after a kill")
    return found


def broken_by_figures(rows: Iterable[Row]) -> list[str]:
    """Redis restarted or failed over: no request waits for long."""
    return [
        f"{row.kind}: a request waited {row.added_ms} ms longer than usual"
        for row in rows
        if row.kind in REDIS_CAME_BACK and row.added_ms is not None and row.added_ms >= ADDED_MS
    ]


def _shown(found: Sequence[Outcome], faults: Sequence[Injected]) -> str:
    parts = []
    for each in found[:IDS_SHOWN]:
        cause = cause_of(each, faults)
        met = f"{cause.kind} {cause.target}" if cause else "no fault"
        parts.append(f"{each.id} (gateway {each.gateway}, {met}: {each.why})")
    return "; ".join(parts) + (" ..." if len(found) > IDS_SHOWN else "")
