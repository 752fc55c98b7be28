"""What a benchmark found: its samples, and what they come to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

import msgspec

from forebay.bench.settings import PEERS

DIRECT = "direct"
RATIOS = ("chunk_us", "request_us")
"""What is compared to each peer as a ratio, round by round."""
ADDED = ("first_p50_ms", "first_p99_ms", "gap_p50_ms", "gap_p99_ms", "delay_p50_ms", "delay_p99_ms")
"""What is told as what a target adds to the backend alone, round by round."""


class Sample(msgspec.Struct, frozen=True):
    """The values of one case on one target in one round."""

    case: str
    target: str
    round: int
    values: dict[str, float]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One value over all rounds: its median, least and greatest; `over` has medians of ratios to peers, by peer."""

    case: str
    target: str
    name: str
    median: float
    least: float
    greatest: float
    over: dict[str, float] = {}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything; `left_out` has the targets, or cases on targets, that could not be measured, and why."""

    machine: dict[str, str]
    settings: dict[str, object]
    samples: list[Sample]
    figures: list[Figure]
    left_out: dict[str, str]


def figures(samples: Sequence[Sample]) -> list[Figure]:
    """The samples of all rounds as figures, in the order of their first appearance."""
    by_key: dict[tuple[str, str, str], dict[int, float]] = {}
    for sample in samples:
        for name, value in sample.values.items():
            by_key.setdefault((sample.case, sample.target, name), {})[sample.round] = value
    direct = {(case, name): rounds for (case, target, name), rounds in by_key.items() if target == DIRECT}
    found = []
    for (case, target, name), rounds in by_key.items():
        over: dict[str, float] = {}
        if name in RATIOS:
            others = (peer for peer in PEERS if peer != target)
            ratios = {peer: _paired(rounds, by_key.get((case, peer, name), {})) for peer in others}
            over = {peer: median(mine / its for mine, its in pairs) for peer, pairs in ratios.items() if pairs}
        found.append(_figure(case, target, name, list(rounds.values()), over))
        if name in ADDED and target != DIRECT and (pairs := _paired(rounds, direct.get((case, name), {}))):
            found.append(_figure(case, target, f"added_{name}", [mine - its for mine, its in pairs], {}))
    return found


def _paired(mine: dict[int, float], its: dict[int, float]) -> list[tuple[float, float]]:
    return [(value, its[number]) for number, value in mine.items() if its.get(number)]


def _figure(case: str, target: str, name: str, values: list[float], over: dict[str, float]) -> Figure:
    return Figure(
        case=case,
        target=target,
        name=name,
        median=median(values),
        least=min(values),
        greatest=max(values),
        over=over,
    )


def names_in_order(items: Iterable[str]) -> list[str]:
    """Each name once, in the order of its first appearance."""
    return list(dict.fromkeys(items))
