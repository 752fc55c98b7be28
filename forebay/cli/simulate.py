"""`forebay simulate`: placement on a fleet in virtual time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from forebay.options import settings_options
from forebay.simulate.chart import drawing
from forebay.simulate.plot import charts
from forebay.simulate.progress import progress
from forebay.simulate.recovery import recoveries
from forebay.simulate.report import CaseReport
from forebay.simulate.running import run_fleet
from forebay.simulate.settings import SimulateSettings
from forebay.simulate.simulate import simulate
from forebay.simulate.svg import svg
from forebay.simulate.tables import table
from forebay.simulate.workers import workers
from scheduler.errors import SchedulerError
from simulator.cluster.workloads.errors import WorkloadError

WIDTH = 170


@click.command("simulate")
@click.option("--json", "as_json", is_flag=True, help="For programs: each case as one line of JSON, when it is done.")
@settings_options(SimulateSettings)
def command(settings: SimulateSettings, *, as_json: bool) -> None:
    """Place a trace's requests on a simulated fleet, with the policies and scripts that serve, in virtual time.

    Other projects' rules place with what their gateways would see. The same seed gives the same result. Figures are
    over all seeds, with their standard errors.
    """
    _check_plot(settings.plot)
    reports = []
    runs = len(settings.cases) * len(settings.seed_numbers)
    # Lines of JSON on a terminal show well enough how far it is, and would get in the way of the bar.
    terminal = Console(stderr=True, quiet=as_json and sys.stdout.isatty())
    try:
        with workers(settings.processes) as executor, progress(terminal, runs) as ended:
            for report in simulate(settings, partial(run_fleet, settings), executor, ended):
                reports.append(report)
                if as_json:
                    click.echo(report.as_json())
    except (WorkloadError, SchedulerError) as error:
        raise click.ClickException(str(error)) from error
    if not as_json:
        console = Console(highlight=False, width=max(WIDTH, Console().width))
        console.print(table(reports), *map(str, recoveries(reports)), sep="\n")
    if settings.plot:
        _plot(Path(settings.plot), reports)


def _check_plot(plot: str) -> None:
    """Before minutes are spent on what could not be drawn."""
    if plot and not Path(plot).absolute().parent.is_dir():
        raise click.UsageError(f"{plot}: there is no such folder")
    if plot and Path(plot).is_dir():
        raise click.UsageError(f"{plot}: that is a folder")
    if plot.endswith(".png"):
        try:
            import PIL  # noqa: F401, PLC0415 - only to see whether it is there
        except ImportError as error:
            raise click.UsageError(f"{plot}: a PNG image needs Pillow (pip install pillow), or ask for .svg") from error


def _plot(path: Path, reports: Sequence[CaseReport]) -> None:
    drawn = drawing(charts(reports))
    if path.name.endswith(".svg"):
        image = svg(drawn).encode()
    else:
        from forebay.simulate.png import png  # noqa: PLC0415 - Pillow is not there unless asked for

        image = png(drawn)
    try:
        path.write_bytes(image)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror or error}") from error
