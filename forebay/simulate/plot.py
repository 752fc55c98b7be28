"""The cases of a simulation as charts: what was swept along, a line for each of the rest. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from forebay.simulate.cases import counted
from forebay.simulate.chart import Chart, Line, Point
from forebay.simulate.report import CaseReport
from simulator.cluster.figures import Figures
from simulator.cluster.spread import Spread

Shown = Callable[[Figures], tuple[float | None, float | None]]
"""A figure and its standard error; None where nothing was served."""


def _mean(found: Spread | None) -> tuple[float | None, float | None]:
    return (found.mean, found.se) if found else (None, None)


PLOTTED: Mapping[str, Shown] = MappingProxyType(
    {
        "TTFT, mean, ms": lambda figures: _mean(figures.ttft_ms),
        "TTFT, p99, ms": lambda figures: (figures.ttft_ms.p99 if figures.ttft_ms else None, 0.0),
        "TPOT, mean, ms": lambda figures: _mean(figures.tpot_ms),
        "goodput": lambda figures: (figures.goodput, figures.goodput_se),
        "hit rate": lambda figures: (figures.hit_rate, figures.hit_rate_se),
    }
)
"""What each chart shows."""


def charts(reports: Sequence[CaseReport]) -> list[Chart]:
    """A chart of each figure there is, along the load or, where only one was run, along the gateways."""
    by_load = len({report.case.load for report in reports}) > 1
    rows: dict[str, list[CaseReport]] = {}
    for report in reports:
        rows.setdefault(_name(report, by_load), []).append(report)
    found = [
        Chart(
            title=title,
            along="load" if by_load else "gateways",
            lines=tuple(Line(name=name, points=_points(each, figure, by_load)) for name, each in rows.items()),
        )
        for title, figure in PLOTTED.items()
    ]
    return [chart for chart in found if any(line.points for line in chart.lines)]


def _name(report: CaseReport, by_load: bool) -> str:
    """What a case is like but for its place along the axis."""
    case = report.case
    if report.clients:
        rest = [counted(report.clients, "client")]
    else:
        rest = [counted(case.gateways, "gateway") if by_load else f"load {case.load:g}"]
    return ", ".join([case.policy, *rest, *([f"burst {case.burst:g}"] if case.burst > 1 else [])])


def _points(reports: Sequence[CaseReport], figure: Shown, by_load: bool) -> tuple[Point, ...]:
    points = []
    for report in reports:
        value, error = figure(report.figures)
        if value is not None:
            x = report.case.load if by_load else report.case.gateways
            points.append(Point(x=x, y=value, error=error or 0.0))
    return tuple(sorted(points, key=lambda point: point.x))
