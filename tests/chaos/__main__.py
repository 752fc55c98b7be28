"""`make chaos`: real processes under load and a seeded schedule of faults; exits 1 if a promise is broken."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from forebay.bench.machine import machine
from tests.chaos.kinds import KINDS, MENDED_WITHIN_S
from tests.chaos.page import page
from tests.chaos.partitions import Means, partitions
from tests.chaos.report import HEADINGS, Report, cells
from tests.chaos.router import port_of
from tests.chaos.settings import ChaosSettings, Stage
from tests.chaos.stage_run import run_stage
from tests.namespace import hindrance

STAGES = {
    f"{ranks}-{store}": Stage(ranks, store) for ranks in ("mixed", "pairs") for store in ("alone", "sentinel")
}  # fmt: skip
LONG = ChaosSettings(
    requests=20_000,
    rate=15.0,
    rounds=5,
    every_s=3.5,
    # Placements around a gateway's end need many of them for a p99: more than ranks of the usual speed could serve.
    stages=(*STAGES.values(), Stage("mixed", "alone", kinds=("gateway-kill",), rate=60.0, rounds=10, speed=4.0)),
)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--long",
    "is_long",
    is_flag=True,
    help="Each kind at least ten times, on four fleets and one more: over half an hour.",
)
@click.option("--seed", type=int, default=1, help="Of the faults and of the requests.")
@click.option("--requests", type=click.IntRange(1, 1_000_000), help="Requests at least, of all fleets together.")
@click.option("--rate", type=click.FloatRange(0.1, 1_000), help="Requests per second.")
@click.option("--faults", type=click.IntRange(0, 10_000), help="Faults, of all fleets together.")
@click.option("--rounds", type=click.IntRange(1, 100), help="Each kind so often on each fleet, in place of --faults.")
@click.option("--every-s", type=click.FloatRange(0.1, 600), help="Seconds from one fault to the next.")
@click.option("--overlap", type=click.IntRange(1, 8), help="Faults that may be there at once.")
@click.option("--kinds", multiple=True, type=click.Choice(sorted(KINDS)), help="Only these; may be repeated.")
@click.option("--stage", "stages", multiple=True, type=click.Choice(sorted(STAGES)), help="Fleets, one after another.")
@click.option("--against", metavar="URL", help="Another router, that runs; faults of ranks only.")
@click.option("--ranks-port", type=click.IntRange(1024, 60_000), help="First of the ranks' ports; else free ones.")
@click.option(
    "--partitions", type=click.Choice(get_args(Means)), help="How links are cut; namespaces where they can be made."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Keep all figures here.")
@click.option("--page", "page_file", type=click.Path(dir_okay=False, path_type=Path), help="Write this Markdown page.")
@click.option("--logs", type=click.Path(file_okay=False, path_type=Path), help="Folder for the processes' logs.")
def main(json_file: Path | None, page_file: Path | None, logs: Path | None, **given: object) -> None:
    """Break everything but the promises."""
    if shutil.which("redis-server") is None:
        raise click.ClickException("redis-server is not installed")
    settings = settings_of(given)
    if settings.against:
        port_of(settings.against)
    cuts = partitions(settings.partitions, hindrance(), theirs=bool(settings.against))
    if settings.partitions not in (None, cuts.means):
        raise click.ClickException(f"no partitions in network namespaces: {cuts.because}")
    command = shlex.join(_without_files(sys.argv[1:]))
    folder = logs or Path(tempfile.mkdtemp(prefix="forebay-chaos-"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            report = runner.run(run(settings, folder, command))
        except asyncio.CancelledError:
            raise click.Abort from None
    if json_file:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(report.kept())))
    if page_file:
        page_file.write_text(page(report, MENDED_WITHIN_S))
    show(report)
    click.echo(f"logs: {folder}")
    if broken := report.broken():
        click.echo("\n".join(["broken promises:", *broken, f'again: make chaos ARGS="{command}"']))
        sys.exit(1)


async def run(settings: ChaosSettings, folder: Path, command: str) -> Report:
    """All stages; SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    started_s = time.monotonic()
    reports = []
    for number, (stage, requests, faults) in enumerate(settings.shares()):
        place = folder / str(number)
        place.mkdir(parents=True, exist_ok=True)
        reports.append(await run_stage(place, stage, settings, requests, faults, click.echo))
    return Report(
        command=command,
        seed=settings.seed,
        machine=await machine({"redis-server": "redis-server"}),
        minutes=round((time.monotonic() - started_s) / 60, 1),
        stages=reports,
    )


def settings_of(given: dict[str, object]) -> ChaosSettings:
    """The options that were given, over those of the long run or the short one."""
    base = LONG if given.pop("is_long") else ChaosSettings()
    changed = {name: value for name, value in given.items() if value is not None and value != ()}
    if "faults" in changed:
        changed["rounds"] = 0
    if "stages" in changed:
        changed["stages"] = tuple(STAGES[str(name)] for name in given["stages"])  # type: ignore[attr-defined]
    elif "against" in changed:
        changed["stages"] = (STAGES["mixed-alone"],)
    return msgspec.structs.replace(base, **changed)


def show(report: Report) -> None:
    """The tables, on the terminal."""
    console = Console(width=max(160, Console().width))
    table = Table(*HEADINGS, title="By kind of fault", title_justify="left")
    for row in report.rows():
        table.add_row(*cells(row))
    console.print(table)
    for name, value in report.facts():
        console.print(f"{name}: {value}", highlight=False)
    for why, names in report.left_out().items():
        console.print(f"left out, {why}: {names}", highlight=False)


def _without_files(words: Sequence[str]) -> list[str]:
    """The command's words without what says only where files go."""
    kept, skip = list[str](), False
    for word in words:
        if not skip and word.partition("=")[0] not in ("--json", "--page", "--logs"):
            kept.append(word)
        skip = not skip and word in ("--json", "--page", "--logs")
    return kept


if __name__ == "__main__":
    main()
