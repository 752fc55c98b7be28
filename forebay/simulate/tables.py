"""The cases of a simulation as a table for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from forebay.simulate.cases import counted
from forebay.simulate.report import CaseReport
from simulator.cluster.spread import Spread

HEADINGS = (
    *("policy", "G", "load", "TTFT mean ms", "p50", "p90", "p99", "TPOT mean ms", "p99", "e2e mean ms"),
    *("req/s", "goodput", "hits", "imbalance", "rejected"),
)


def table(reports: Sequence[CaseReport]) -> Table:
    """A row for each case; behind ± stands one standard error, and a - for what there was nothing to tell of."""
    one = reports[0]
    ranks = f"{one.prefill} prefill + {one.decode} decode + {one.mixed} mixed"
    seeds = f"seeds {', '.join(str(run.seed) for run in one.figures.seeds)}"
    asked = counted(one.requests, "request") + (f" of {counted(one.clients, 'client')}" if one.clients else "")
    title = f"{one.workload}: {asked}, {ranks} ranks, {seeds}"
    shown = Table(title=title, title_justify="left", title_style="bold")
    for index, heading in enumerate(HEADINGS):
        shown.add_column(heading, justify="right" if index else "left", no_wrap=index == 0)
    for report in reports:
        shown.add_row(*_row(report))
    return shown


def _row(report: CaseReport) -> list[str]:
    case, found = report.case, report.figures
    ttft, tpot = found.ttft_ms, found.tpot_ms
    return [
        *(case.policy, str(case.gateways), _load(report)),
        *(_with_error(ttft, 0), *_quantiles(ttft)),
        *(_with_error(tpot, 2), _text(tpot.p99 if tpot else None, 2), _with_error(found.e2e_ms, 0)),
        f"{found.throughput_rps:.2f}",
        f"{found.goodput:.3f} ± {found.goodput_se:.3f}",
        *(_text(found.hit_rate, 3), _text(found.imbalance, 2), str(found.rejected)),
    ]


def _load(report: CaseReport) -> str:
    case = report.case
    if report.clients:
        return "-"
    return f"{case.load:g}, burst {case.burst:g}" if case.burst > 1 else f"{case.load:g}"


def _quantiles(ms: Spread | None) -> list[str]:
    return [_text(value, 0) for value in ((ms.p50, ms.p90, ms.p99) if ms else (None, None, None))]


def _with_error(ms: Spread | None, digits: int) -> str:
    return f"{_text(ms.mean, digits)} ± {_text(ms.se, digits)}" if ms else _text(None, digits)


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
