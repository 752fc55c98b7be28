"""A load test's report as charts."""

from __future__ import annotations

from collections.abc import Sequence

from forebay.load_test.figures import PERCENTS, Spread
from forebay.load_test.report import Report
from forebay.simulate.chart import Chart, Line, Point


def charts(report: Report) -> list[Chart]:
    """The percentiles of each kind of time, and the TTFT over the time of the test."""
    found = report.figures
    kinds = (("TTFT", found.ttft), ("TPOT", found.tpot), ("ITL", found.itl), ("E2E", found.e2e))
    shown = [_percentiles(f"{name}, ms", spread) for name, spread in kinds if spread]
    if report.over_time:
        shown.append(_chart("TTFT, mean, ms", "seconds from the start", "all requests", report.over_time))
    return shown


def _percentiles(title: str, spread: Spread) -> Chart:
    points = list(zip(map(float, PERCENTS), spread.percentiles, strict=True))
    return _chart(title, "percentile", f"{spread.count} values", points)


def _chart(title: str, along: str, name: str, points: Sequence[tuple[float, float]]) -> Chart:
    return Chart(
        title=title,
        along=along,
        lines=(Line(name=name, points=tuple(Point(x=x, y=max(0.0, y), error=0.0) for x, y in points)),),
    )
