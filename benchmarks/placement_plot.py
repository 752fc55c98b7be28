"""The plots of docs/placement.md: a few rules of a table, so that lines can be told apart. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.placement_results import Result, ttft_ratio
from benchmarks.placement_tables import FLAT, OWN, TableSpec
from forebay.simulate.chart import Chart, Line, Point

SHOWN = (
    *(OWN, "llm_d_precise", "dynamo_aic", "lmetric"),
    *("smg_cache_aware", "llm_d_queue", "fastdeploy", "own_counts"),
)
"""The better rules of other routers, one that knows no prefixes, and the negative control."""


def charts_of(table: TableSpec, results: Sequence[Result]) -> list[Chart]:
    """Of a table of loads the goodput and the mean TTFT with most gateways; of one of gateways the growth of TTFT."""
    shown = [result for name in SHOWN for result in results if result.policy == name]
    if table in FLAT:
        return [_flat(shown, load) for load in sorted({each.load for each in shown})]
    gateways = max(each.gateways for each in shown)
    many = [each for each in shown if each.gateways == gateways]
    return [
        _by_load(many, f"{table.title}, {gateways} gateways: goodput", lambda each: (each.goodput, 0.0)),
        _by_load(
            many,
            f"{table.title}, {gateways} gateways: mean TTFT, s",
            lambda each: (each.ttft_ms.mean / 1000, each.ttft_ms.se / 1000),
        ),
    ]


def _by_load(results: Sequence[Result], title: str, figure: Callable[[Result], tuple[float, float]]) -> Chart:
    lines = []
    for rule in dict.fromkeys(each.policy for each in results):
        found = sorted((each for each in results if each.policy == rule), key=lambda each: each.load)
        lines.append(Line(name=rule, points=tuple(_point(each.load, *figure(each)) for each in found)))
    return Chart(title=title, along="load", lines=tuple(lines))


def _flat(results: Sequence[Result], load: float) -> Chart:
    lines = []
    for rule in dict.fromkeys(each.policy for each in results):
        found = {each.gateways: each for each in results if (each.policy, each.load) == (rule, load)}
        ratios = {gateways: ttft_ratio(found[gateways], found[1]) for gateways in sorted(found)}
        points = tuple(_point(gateways, ratio.mean, ratio.se) for gateways, ratio in ratios.items())
        lines.append(Line(name=rule, points=points))
    return Chart(title=f"load {load:g}: mean TTFT over that of one gateway", along="gateways", lines=tuple(lines))


def _point(x: float, y: float, error: float) -> Point:
    return Point(x=x, y=y, error=error)
