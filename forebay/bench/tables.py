"""A report as tables, one for each case."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from forebay.bench.report import Figure, names_in_order

HEADINGS = {
    "chunk_us": "µs/chunk",
    "request_us": "µs/request",
    "requests_per_s": "requests/s",
    "stream_kib": "KiB/stream",
    "chunk_agent_us": "+ agent",
    "chunk_redis_us": "+ Redis",
    "request_agent_us": "+ agent",
    "request_redis_us": "+ Redis",
    "added_first_p50_ms": "+ first p50 ms",
    "added_first_p99_ms": "+ first p99 ms",
    "added_gap_p99_ms": "+ gap p99 ms",
    "added_delay_p50_ms": "+ delay p50 ms",
    "cores": "cores",
    "late": "took/due",
}
"""What is shown, in this order; the rest is in the JSON."""


def tables(figures: Sequence[Figure]) -> list[Table]:
    """One table for each case: a row for each target, the median with the least and greatest beside it."""
    return [_table(case, [each for each in figures if each.case == case]) for case in _cases(figures)]


def _cases(figures: Sequence[Figure]) -> list[str]:
    return names_in_order(figure.case for figure in figures)


def _table(case: str, figures: Sequence[Figure]) -> Table:
    by_key = {(figure.target, figure.name): figure for figure in figures}
    columns = [name for name in HEADINGS if any(figure.name == name for figure in figures)]
    peers = names_in_order(peer for figure in figures for peer in figure.over)
    table = Table(title=case, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("target")
    for name in columns:
        table.add_column(HEADINGS[name], justify="right")
    for peer in peers:
        table.add_column(f"÷ {peer}", justify="right")
    for target in names_in_order(figure.target for figure in figures):
        cells = [_cell(by_key.get((target, name))) for name in columns]
        ratios = {peer: ratio for figure in figures if figure.target == target for peer, ratio in figure.over.items()}
        table.add_row(target, *cells, *(f"{ratios[peer]:.2f}" if peer in ratios else "" for peer in peers))
    return table


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    if figure.least == figure.greatest:
        return _number(figure.median)
    return f"{_number(figure.median)} ({_number(figure.least)} to {_number(figure.greatest)})"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
