"""The tables of docs/placement.md: Forebay's rule and those of other routers, on the same simulated fleets.

    python -m benchmarks.placement run --traces FOLDER [--table NAME]...
    python -m benchmarks.placement page
    python -m benchmarks.placement plot

`run` has `forebay simulate` run what is missing in docs/placement/, a file for each table and rule, and prints each
command; what is there is kept, so a run that was ended goes on where it was. `page` prints docs/placement_tables.md,
`plot` draws the tables as docs/placement/TABLE.svg.
The folder of traces has mooncake_conversation.jsonl (github.com/kvcache-ai/Mooncake, FAST25-release/traces) and
azure_code.csv (github.com/Azure/AzurePublicDataset, AzureLLMInferenceTrace_code.csv).
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.placement_page import HEAD, page_of
from benchmarks.placement_plot import charts_of
from benchmarks.placement_results import Result, read_results, results_of, write_results
from benchmarks.placement_tables import AGAINST_PEERS, FLAT, TableSpec, names_of, table_named
from forebay.simulate.chart import drawing
from forebay.simulate.svg import svg

RESULTS = Path("docs/placement")
TABLES = (*AGAINST_PEERS, *FLAT)


@click.group(help=__doc__)
def main() -> None:
    """See the module."""


@main.command("run")
@click.option("--traces", required=True, type=click.Path(exists=True, file_okay=False), help="Folder of the traces.")
@click.option("--table", "names", multiple=True, type=click.Choice(names_of(TABLES)), help="Only these tables.")
@click.option("--rule", "rules", multiple=True, help="Only these rules.")
@click.option("--seeds", default="1-8", show_default=True)
@click.option("--processes", default=2, show_default=True, type=click.IntRange(1, 64))
def run(traces: str, names: Sequence[str], rules: Sequence[str], seeds: str, processes: int) -> None:
    """Simulate what is missing."""
    for table in map(table_named, names or names_of(TABLES)):
        for rule in table.rules:
            path = _path(table, rule)
            if not path.exists() and (not rules or rule in rules):
                path.parent.mkdir(parents=True, exist_ok=True)
                options = [*table.options_of(rule, traces, seeds), "--processes", str(processes), "--json"]
                write_results(path, _simulated(options))


@main.command("page")
def page() -> None:
    """Print docs/placement_tables.md: the tables, of what was simulated."""
    click.echo(HEAD)
    for table in TABLES:
        if found := _found(table):
            click.echo(page_of(table, found))


@main.command("plot")
def plot() -> None:
    """Draw the tables, of what was simulated."""
    for table in TABLES:
        if found := _found(table):
            (RESULTS / f"{table.name}.svg").write_text(svg(drawing(charts_of(table, found))), encoding="utf-8")


def _found(table: TableSpec) -> list[Result]:
    paths = [path for rule in table.rules if (path := _path(table, rule)).exists()]
    return [result for path in paths for result in read_results(path)]


def _path(table: TableSpec, rule: str) -> Path:
    return RESULTS / table.name / f"{rule}.jsonl"


def _simulated(options: Sequence[str]) -> list[Result]:
    click.echo(f"forebay simulate {shlex.join(options)}", err=True)
    command = [sys.executable, "-m", "forebay", "simulate", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - our own command
    return results_of(done.stdout)


if __name__ == "__main__":
    main()
