"""A load test's report as a table and lines."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Column, Table

from forebay.load_test.report import Report


def lines(report: Report) -> Iterator[str]:
    """What is said before and below the table."""
    found, own = report.figures, report.own_load
    yield (
        f"{found.succeeded} of {found.sent} requests succeeded in {found.took_s:.2f} s: {found.requests_per_s:.2f} a "
        f"second, {found.output_tokens_per_s:.0f} output tokens a second, at most {report.most_at_once} at once"
    )
    if found.succeeded:
        means = found.prompt_tokens / found.succeeded, found.output_tokens / found.succeeded
        yield f"tokens, mean: {means[0]:.1f} of a prompt, {means[1]:.1f} of an answer"
    if found.goodput:
        yield f"goodput: {found.goodput.per_s:.2f} a second, {100 * found.goodput.share:.1f} % of all requests"
    for kind, count in found.errors.items():
        yield f"failed: {count}: {kind}"
    late, arrivals = own.late, own.arrivals_late
    of_arrivals = f"arrivals late by {arrivals.p99:.2f} ms (p99), " if arrivals else ""
    yield (
        f"the client: {own.cores:.2f} of a core, late by {late.p99 if late else 0:.2f} ms (p99); {of_arrivals}"
        f"{own.held} held back by --max-concurrency"
    )
    if report.doubts:
        yield f"WARNING: {report.doubts}"


def table(report: Report) -> Table:
    """The times."""
    found = report.figures
    shown = Table("ms", *(Column(name, justify="right") for name in ("mean", "p50", "p90", "p99", "most", "count")))
    for name, spread in (("TTFT", found.ttft), ("TPOT", found.tpot), ("ITL", found.itl), ("E2E", found.e2e)):
        if spread:
            values = (spread.mean, spread.p50, spread.p90, spread.p99, spread.most)
            shown.add_row(name, *(f"{value:.2f}" for value in values), str(spread.count))
    return shown
