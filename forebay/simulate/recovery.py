"""What is left of a burst at the end of a run: the last requests' TTFT with it, over that without. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import msgspec

from forebay.simulate.cases import Case, counted
from forebay.simulate.report import CaseReport
from simulator.cluster.spread import standard_error


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """Mean TTFT of the late requests of a case with a burst and without; `ratio` is the mean of those of each seed."""

    case: Case
    with_ms: float
    without_ms: float
    ratio: float
    ratio_se: float

    def __str__(self) -> str:
        """One line."""
        case = self.case
        return (
            f"{case.policy}, {counted(case.gateways, 'gateway')}, load {case.load:g}: "
            f"late TTFT after a burst of {case.burst:g} {self.with_ms:,.0f} ms, without {self.without_ms:,.0f} ms: "
            f"{self.ratio:.3f} ± {self.ratio_se:.3f}"
        )


def recoveries(reports: Sequence[CaseReport]) -> list[Recovery]:
    """Of each case with a burst that was also run without one, in order; both served late requests of a seed."""
    calm = {report.case: report for report in reports if report.case.burst == 1}
    found = []
    for report in reports:
        without = calm.get(msgspec.structs.replace(report.case, burst=1.0))
        if without is not None and report is not without and (recovery := _recovery(report, without)):
            found.append(recovery)
    return found


def _recovery(report: CaseReport, without: CaseReport) -> Recovery | None:
    with_ms, without_ms = report.figures.ttft_late_ms, without.figures.ttft_late_ms
    pairs = zip(report.figures.seeds, without.figures.seeds, strict=True)
    ratios = [
        one.ttft_late_ms / other.ttft_late_ms
        for one, other in pairs
        if one.ttft_late_ms is not None and other.ttft_late_ms
    ]
    if not (with_ms and without_ms and ratios):
        return None
    return Recovery(
        case=report.case,
        with_ms=with_ms.mean,
        without_ms=without_ms.mean,
        ratio=fmean(ratios),
        ratio_se=standard_error(ratios),
    )
