"""A report inside a Markdown page that is otherwise written by hand. Pure."""

from __future__ import annotations

import re

from forebay.bench.grids import Grid, grids
from forebay.bench.report import Report

BEGIN = "<!-- written by forebay bench: begin -->"
END = "<!-- written by forebay bench: end -->"
FILES = ("peer", "json", "plot", "page")
"""Settings that say nothing of the run, only of where files are."""
_WRITTEN = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)


def has_place(page: str) -> bool:
    """Whether the page has the two marks."""
    return _WRITTEN.search(page) is not None


def with_report(page: str, report: Report) -> str:
    """The page with the report between its marks, in place of what stood there."""
    where = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    settings = {name: value for name, value in report.settings.items() if value and name not in FILES}
    changed = ", ".join(f"{name} {value}" for name, value in settings.items())
    left_out = [f"- Left out, {name}: {why.splitlines()[0]}" for name, why in report.left_out.items()]
    parts = [BEGIN, f"Machine: {where}.", f"Settings: {changed}.", *left_out, *map(_table, grids(report.figures)), END]
    return _WRITTEN.sub(lambda _: "\n\n".join(parts), page)


def _table(grid: Grid) -> str:
    rule = ["---", *("--:" for _ in grid.headings[1:])]
    return "\n".join([f"### {grid.case}", "", *(f"| {' | '.join(row)} |" for row in (grid.headings, rule, *grid.rows))])
