"""`forebay bench`: what the data plane costs, beside other proxies."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import anyio
import click
import msgspec
from click.core import ParameterSource
from rich.console import Console

from forebay.bench.bench import bench
from forebay.bench.errors import BenchError
from forebay.bench.page import BEGIN, END, has_place, with_report
from forebay.bench.plot import svg
from forebay.bench.report import Report
from forebay.bench.settings import BenchSettings
from forebay.bench.tables import tables
from forebay.causes import first_cause
from forebay.inheritance import inherited
from forebay.load_test.command import run_load_test
from forebay.load_test.settings import LoadTestSettings
from forebay.options import option_names, settings_options
from forebay.result_file import check_result_file, write_result

WIDTH = 160


class BenchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Those of both benchmarks; --json and --plot are for either."""

    relay: BenchSettings = BenchSettings()
    load: LoadTestSettings = LoadTestSettings()


@click.command("bench")
@settings_options(BenchOptions)
@click.pass_context
def command(ctx: click.Context, settings: BenchOptions) -> None:
    """Measure the gateway's data plane on this machine, beside other proxies, before a backend that only pretends.

    All targets are started at once and take turns, so that what disturbs the machine disturbs each of them. It needs
    some minutes and an otherwise idle machine; --quick needs one. CPU time is the proxy's, by the kernel's count. Peers
    are taken from the PATH: nginx, haproxy, vllm-router, smg.

    With --url it is a load test of the server there, a gateway or any other that speaks OpenAI's API, and takes the
    options whose help begins with --url, --api-key, --api-key-file and --ca. FOREBAY_URL alone makes it none: where the
    URL is a variable, type another option of the load test.
    """
    is_load_test = bool(settings.load.server.url) and _asks_for_a_load_test(ctx)
    _refuse_the_others_options(ctx, is_load_test=is_load_test)
    if is_load_test:
        run_load_test(settings.load, json=settings.relay.json, plot=settings.relay.plot)
    else:
        _bench(settings.relay)


def _asks_for_a_load_test(ctx: click.Context) -> bool:
    """By an option that is typed. A variable is there for other commands, too, and names a server that people use."""
    return any(_is_typed(ctx, name) for name in option_names(LoadTestSettings))


def _refuse_the_others_options(ctx: click.Context, *, is_load_test: bool) -> None:
    """Variables are for whatever command they fit; what is typed must mean something."""
    others = set(option_names(BenchSettings) if is_load_test else option_names(LoadTestSettings)) - {"json", "plot"}
    for name in sorted(others):
        if _is_typed(ctx, name):
            with_or_without = "has no meaning with" if is_load_test else "needs"
            raise click.UsageError(f"--{name.replace('_', '-')} {with_or_without} --url")


def _is_typed(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _bench(settings: BenchSettings) -> None:
    _check_files(settings)
    console = Console(stderr=True)
    try:
        report = anyio.run(_until_signal, settings, inherited(os.environ), console)
    except (ExceptionGroup, BenchError) as error:
        cause = first_cause(error)
        if not isinstance(cause, BenchError):
            raise
        raise click.ClickException(str(cause)) from error
    if report is None:
        raise click.Abort
    _show(report)
    if settings.json:
        write_result(settings.json, msgspec.json.format(msgspec.json.encode(report)))
    if settings.plot:
        write_result(settings.plot, svg(report.figures).encode())
    if settings.page:
        page = Path(settings.page)
        page.write_text(with_report(page.read_text("utf-8"), report), encoding="utf-8")


def _check_files(settings: BenchSettings) -> None:
    """Before minutes are spent on what could not be written down."""
    for file in (settings.json, settings.plot):
        check_result_file(file)
    if settings.page and not _is_page(Path(settings.page)):
        raise click.UsageError(f"{settings.page}: expected a page with the lines {BEGIN} and {END}")


def _is_page(page: Path) -> bool:
    try:
        return page.is_file() and has_place(page.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return False


async def _until_signal(settings: BenchSettings, environment: Mapping[str, str], console: Console) -> Report | None:
    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    async def stop_on_signal() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                tasks.cancel_scope.cancel()

    report = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_on_signal, name="signals")
        report = await bench(settings, environment, say)
        tasks.cancel_scope.cancel()
    return report


def _show(report: Report) -> None:
    console = Console(highlight=False, width=max(WIDTH, Console().width))
    console.print(", ".join(f"{name} {value}" for name, value in report.machine.items()), soft_wrap=True)
    console.print(*tables(report.figures), sep="\n")
    for name, why in report.left_out.items():
        console.print(f"left out, {name}: {why}", markup=False, soft_wrap=True)
