"""A report as tables for a terminal, one for each case."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from forebay.bench.grids import Grid, grids
from forebay.bench.report import Figure


def tables(figures: Sequence[Figure]) -> list[Table]:
    """One table for each case."""
    return [_table(grid) for grid in grids(figures)]


def _table(grid: Grid) -> Table:
    table = Table(title=grid.case, title_justify="left", title_style="bold")
    for index, heading in enumerate(grid.headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=index < 2)
    for row in grid.rows:
        table.add_row(*row)
    return table
