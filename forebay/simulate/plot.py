"""The cases of a simulation as charts: what was swept along, a line for each of the rest. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from forebay.simulate.chart import Chart, Line, Point
from forebay.simulate.report import CaseReport
from simulator.cluster.figures import Figures

PLOTTED: Mapping[str, Callable[[Figures], tuple[float, float]]] = MappingProxyType(
    {
        "TTFT, mean, ms": lambda figures: (figures.ttft_ms.mean, figures.ttft_ms.se),
        "TTFT, p99, ms": lambda figures: (figures.ttft_ms.p99, 0.0),
        "TPOT, mean, ms": lambda figures: (figures.tpot_ms.mean, figures.tpot_ms.se),
        "goodput": lambda figures: (figures.goodput, figures.goodput_se),
        "hit rate": lambda figures: (figures.hit_rate, figures.hit_rate_se),
    }
)
"""Value and standard error of what each chart shows."""


def charts(reports: Sequence[CaseReport]) -> list[Chart]:
    """A chart of each figure, along the load or, where only one was run, along the gateways."""
    by_load = len({report.case.load for report in reports}) > 1
    rows: dict[str, list[CaseReport]] = {}
    for report in reports:
        case = report.case
        rows.setdefault(f"{case.policy}, {case.gateways} gateways" if by_load else case.policy, []).append(report)
    if not by_load:
        rows = {f"{name}, load {reports[0].case.load:g}": found for name, found in rows.items()}
    return [
        Chart(
            title=title,
            along="load" if by_load else "gateways",
            lines=tuple(Line(name=name, points=_points(found, figure, by_load)) for name, found in rows.items()),
        )
        for title, figure in PLOTTED.items()
    ]


def _points(
    reports: Sequence[CaseReport], figure: Callable[[Figures], tuple[float, float]], by_load: bool
) -> tuple[Point, ...]:
    points = []
    for report in reports:
        value, error = figure(report.figures)
        points.append(Point(x=report.case.load if by_load else report.case.gateways, y=value, error=error))
    return tuple(sorted(points, key=lambda point: point.x))
