"""`forebay simulate`: placement on a fleet in virtual time."""

from __future__ import annotations

import sys
from functools import partial

import click
from rich.console import Console

from forebay.options import settings_options
from forebay.simulate.image_file import check_image_file, write_image
from forebay.simulate.plot import charts
from forebay.simulate.progress import progress
from forebay.simulate.recovery import recoveries
from forebay.simulate.running import run_fleet
from forebay.simulate.settings import SimulateSettings
from forebay.simulate.simulate import simulate
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
    check_image_file(settings.plot)
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
        write_image(settings.plot, charts(reports))
