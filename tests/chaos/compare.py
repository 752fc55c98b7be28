"""The same faults behind one router after another, each started here; the page is docs/reliability_peers.md."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click
import msgspec
import uvloop

from forebay.bench.machine import machine
from tests.chaos.comparison import Plan, Trial, page
from tests.chaos.figures import BAD
from tests.chaos.processes import Running, forebay
from tests.chaos.routers import CONFIG, FOLDER, OURS, PORTS, ROUTERS, Recipe, recipe
from tests.chaos.settings import ChaosSettings, Stage
from tests.chaos.stage_run import run_stage
from tests.polling import until
from tests.ports import HOST, free_ports, free_row

LOOK_S = 0.25


class RouterEndedError(Exception):
    """A router ended while it was needed."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--keep",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for a file of figures of each router, and its logs; who has a file there is not run again.",
)
@click.option("--router", "names", multiple=True, type=click.Choice(list(ROUTERS)), help="Only these; may be repeated.")
@click.option("--program", multiple=True, metavar="NAME=PATH", help="A router's program, if not on the PATH.")
@click.option("--seed", "seeds", multiple=True, type=int, default=(1,), help="A run of each router for each seed.")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, help="Each kind of fault so often.")
@click.option("--rate", type=click.FloatRange(0.1, 1_000), default=15.0, help="Requests per second.")
@click.option("--every-s", type=click.FloatRange(0.1, 600), default=3.5, help="Seconds from one fault to the next.")
@click.option("--page", "page_file", type=click.Path(dir_okay=False, path_type=Path), help="Write this Markdown page.")
def main(
    folder: Path,
    names: Sequence[str],
    program: Sequence[str],
    seeds: Sequence[int],
    page_file: Path | None,
    **given: float,
) -> None:
    """Break the ranks behind each router that is found, one router after another."""
    programs = _programs(names or tuple(ROUTERS), program)
    plans = [msgspec.convert({"seed": seed, **given}, Plan) for seed in seeds]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        trials = [
            _kept(runner, folder / f"{name}-{plan.seed}", name, path, plan)
            for name, path in programs.items()
            for plan in plans
        ]
    text = page(trials, ranks=ChaosSettings().ranks, patience_s=ChaosSettings().patience_s)
    if page_file:
        page_file.write_text(text)
    else:
        click.echo(text)


async def trial(folder: Path, name: str, program: str, plan: Plan) -> Trial:
    """Starts the router, breaks the ranks behind it, and ends it. Raises RouterEndedError."""
    (port, *others), ranks = free_ports(PORTS), ChaosSettings().ranks
    settings = ChaosSettings(
        seed=plan.seed,
        requests=1,
        rate=plan.rate,
        rounds=plan.rounds,
        every_s=plan.every_s,
        against=f"http://{HOST}:{port}",
        ranks_port=free_row(ranks),
    )
    made = recipe(name, program, (port, *others), [f"{HOST}:{settings.ranks_port + n}" for n in range(ranks)])
    began_s = time.monotonic()
    async with running(made, folder):
        report = await run_stage(folder, Stage("mixed", "alone"), settings, settings.requests, 0, click.echo)
    found = await machine({} if name == OURS else {name: program})
    return Trial(
        router=name,
        version=found[name],
        turned_on=made.turned_on,
        lacks=made.lacks,
        plan=plan,
        minutes=round((time.monotonic() - began_s) / 60, 1),
        machine={each: found[each] for each in ("cpu", "cores", "kernel", "python")},
        rows=report.rows(),
        faults=report.faults,
        outcomes=[each for each in report.outcomes if each.judgment in BAD],
    )


@asynccontextmanager
async def running(made: Recipe, folder: Path) -> AsyncIterator[None]:
    """The router while the block lasts. Raises RouterEndedError if a process of it ends before that."""
    config = folder / "config"
    config.write_text(made.config)
    places = {CONFIG: str(config), FOLDER: str(folder)}
    processes = [
        Running(f"router-{n}", forebay("bench-peer", "--", *(places.get(word, word) for word in command)), folder)
        for n, command in enumerate(made.commands)
    ]
    try:
        for process in processes:
            process.start()
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(_watch(processes, folder), name="the router runs")
            yield
            watch.cancel()
    except ExceptionGroup as group:
        if ended := group.subgroup(RouterEndedError):
            raise ended.exceptions[0] from None
        raise
    finally:
        for process in reversed(processes):
            process.kill()


async def _watch(processes: Sequence[Running], folder: Path) -> None:
    await until(
        lambda: not all(process.runs for process in processes), "it ends", within_s=float("inf"), pause_s=LOOK_S
    )
    raise RouterEndedError(f"the router has ended: see the logs in {folder}")


def _kept(runner: asyncio.Runner, folder: Path, name: str, program: str, plan: Plan) -> Trial:
    """What is kept of an earlier run, or a new one, which is kept then."""
    file = folder.with_suffix(".json")
    if file.exists():
        found = msgspec.json.decode(file.read_bytes(), type=Trial)
        if found.plan != plan:
            raise click.ClickException(f"{file} is of another run: {found.plan}")
        return found
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = runner.run(trial(folder, name, program, plan))
    except RouterEndedError as error:
        raise click.ClickException(f"{name}: {error}") from error
    file.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    return found


def _programs(names: Sequence[str], given: Sequence[str]) -> Mapping[str, str]:
    """The routers that are there, with their programs."""
    paths = {name: name for name in names} | {OURS: sys.executable}
    for each in given:
        name, found, path = each.partition("=")
        if not found or name not in ROUTERS:
            raise click.BadParameter(f"expected NAME=PATH, not {each!r}", param_hint="--program")
        paths[name] = path
    programs = {name: shutil.which(paths[name]) for name in names}
    return {name: path for name, path in programs.items() if path}


if __name__ == "__main__":
    main()
