"""The cases of a simulation as a table for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from forebay.simulate.report import CaseReport
from simulator.cluster.spread import Spread

HEADINGS = (
    *("policy", "G", "load", "TTFT mean ms", "p50", "p90", "p99", "TPOT mean ms", "p99", "e2e mean ms"),
    *("req/s", "goodput", "hits", "imbalance", "rejected"),
)


def table(reports: Sequence[CaseReport]) -> Table:
    """A row for each case; behind ± stands one standard error."""
    one = reports[0]
    ranks = f"{one.prefill} prefill + {one.decode} decode + {one.mixed} mixed"
    seeds = f"seeds {', '.join(str(run.seed) for run in one.figures.seeds)}"
    asked = f"{one.requests} requests of {one.clients} clients" if one.clients else f"{one.requests} requests"
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
        *(_with_error(ttft), *(f"{value:,.0f}" for value in (ttft.p50, ttft.p90, ttft.p99))),
        *(f"{tpot.mean:.2f} ± {tpot.se:.2f}", f"{tpot.p99:.2f}", _with_error(found.e2e_ms)),
        f"{found.throughput_rps:.2f}",
        f"{found.goodput:.3f} ± {found.goodput_se:.3f}",
        *(f"{found.hit_rate:.3f}", f"{found.imbalance:.2f}", str(found.rejected)),
    ]


def _load(report: CaseReport) -> str:
    case = report.case
    if report.clients:
        return "-"
    return f"{case.load:g}, burst {case.burst:g}" if case.burst > 1 else f"{case.load:g}"


def _with_error(ms: Spread) -> str:
    return f"{ms.mean:,.0f} ± {ms.se:,.0f}"
