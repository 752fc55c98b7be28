"""A report's figures as grids of text, one for each case: what tables and pages show. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from forebay.bench.report import Figure, names_in_order

HEADINGS = {
    "chunk_us": "µs/chunk",
    "request_us": "µs/request",
    "requests_per_s": "requests/s",
    "stream_kib": "KiB/stream",
    "chunk_agent_us": "agent",
    "chunk_redis_us": "Redis",
    "request_agent_us": "agent",
    "request_redis_us": "Redis",
    "added_first_p50_ms": "+first p50 ms",
    "added_first_p99_ms": "+first p99 ms",
    "added_gap_p99_ms": "+gap p99 ms",
    "cores": "cores",
    "late": "took/due",
}
"""What is shown, in this order; the rest is in the JSON."""
SPREAD_SHOWN = ("chunk_us", "request_us", "stream_kib")


class Grid(NamedTuple):
    """One case: headings, and a row for each target."""

    case: str
    headings: list[str]
    rows: list[list[str]]


def grids(figures: Sequence[Figure]) -> list[Grid]:
    """A row for each target: medians, those of CPU and memory with least and greatest, and ratios to peers."""
    cases = names_in_order(figure.case for figure in figures)
    return [_grid(case, [each for each in figures if each.case == case]) for case in cases]


def _grid(case: str, figures: Sequence[Figure]) -> Grid:
    by_key = {(figure.target, figure.name): figure for figure in figures}
    columns = [name for name in HEADINGS if any(figure.name == name for figure in figures)]
    peers = names_in_order(peer for figure in figures for peer in figure.over)
    rows = []
    for target in names_in_order(figure.target for figure in figures):
        over = {peer: ratio for figure in figures if figure.target == target for peer, ratio in figure.over.items()}
        ratios = (f"{over[peer]:.2f}" if peer in over else "" for peer in peers)
        rows.append([target, *(_cell(by_key.get((target, name))) for name in columns), *ratios])
    return Grid(case, ["target", *(HEADINGS[name] for name in columns), *(f"÷ {peer}" for peer in peers)], rows)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    shown, least, greatest = map(_number, (figure.median, figure.least, figure.greatest))
    return f"{shown} ({least} to {greatest})" if figure.name in SPREAD_SHOWN and least != greatest else shown


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
