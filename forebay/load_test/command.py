"""What `forebay bench --url` does, from its options to what it prints and writes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from forebay.bench.errors import BenchError
from forebay.causes import first_cause
from forebay.load_test.charts import charts
from forebay.load_test.load_test import Say, load_test
from forebay.load_test.loading import Heard
from forebay.load_test.report import Report
from forebay.load_test.settings import LoadTestSettings
from forebay.load_test.tables import lines, table
from forebay.load_test.workload import Workload, workload
from forebay.model_server.errors import ServerError
from forebay.model_server.server import Server, server_of
from forebay.open_files import OTHER_FILES, allow_open_files
from forebay.printable import printable
from forebay.result_file import check_result_file, write_result
from forebay.simulate.image_file import check_image_file, write_image
from simulator.cluster.workloads.errors import TraceError


def run_load_test(settings: LoadTestSettings, *, json: str, plot: str) -> None:
    """Raises what click tells the user; exit code 1 where a request failed."""
    check_image_file(plot)
    check_result_file(json)
    server = server_of(settings.server)
    if allow_open_files(settings.max_concurrency + OTHER_FILES) < settings.max_concurrency + OTHER_FILES:
        raise click.UsageError("--max-concurrency: the system allows fewer open files (ulimit -Hn)")
    console = Console(stderr=True)
    try:
        work = workload(settings)
    except TraceError as error:
        raise click.UsageError(f"--dataset: {error}") from error
    try:
        with _progress(console, work.count) as (say, heard):
            report = anyio.run(_until_signal, settings, server, work, say, heard, backend_options={"use_uvloop": True})
    except (ExceptionGroup, BenchError, ServerError, TraceError) as error:
        cause = first_cause(error)
        if not isinstance(cause, BenchError | ServerError | TraceError):
            raise
        raise click.ClickException(printable(str(cause))) from error
    if report is None:
        raise click.Abort
    _show(report, json, plot)
    if report.figures.errors:
        raise click.exceptions.Exit(1)


def _show(report: Report, json: str, plot: str) -> None:
    console = Console(highlight=False)
    console.print(table(report))
    for line in lines(report):
        console.print(printable(line), markup=False, soft_wrap=True)
    if json:
        write_result(json, msgspec.json.format(msgspec.json.encode(report)))
    if plot:
        write_image(plot, charts(report))


async def _until_signal(
    settings: LoadTestSettings, server: Server, work: Workload, say: Say, heard: Heard
) -> Report | None:
    async def stop_on_signal() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                tasks.cancel_scope.cancel()

    report = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_on_signal, name="signals")
        report = await load_test(settings, server, work, say, heard)
        tasks.cancel_scope.cancel()
    return report


@contextmanager
def _progress(console: Console, total: int) -> Iterator[tuple[Callable[[str], None], Heard]]:
    """What is said goes to standard error; on a terminal a bar shows how many requests are over."""
    shown = Progress(
        *(TextColumn("answered"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        # A bar that is drawn often would make what is measured late.
        refresh_per_second=2,
        disable=not console.is_terminal,
    )
    bar = shown.add_task("", total=total)
    with shown:
        yield (
            lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True),
            lambda _: shown.advance(bar),
        )
