"""A parent of processes: starts them, passes on what they say, and ends them when it is told to."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import anyio
import click
from click.core import ParameterSource
from rich.console import Console

from forebay.causes import first_cause
from forebay.children import ChildEndedError, Children, children
from forebay.options import variable


class CannotStartError(Exception):
    """What was asked for cannot be started; the message says why."""


class Household(NamedTuple):
    """What children live in: their environment, where they are heard, and how long they get to end."""

    environment: Mapping[str, str]
    console: Console
    stop_within_s: float

    def hear(self, name: str, line: str) -> None:
        """Show what a child said on standard error."""
        self.console.print(f"{name}: {line}", markup=False, highlight=False, soft_wrap=True)


async def supervise(start: Callable[[Children], Awaitable[str]], household: Household) -> None:
    """Run the children that `start` starts until SIGTERM or SIGINT; a second signal waits for nobody.

    `start` returns what to say, on standard output, once all are ready. Raises CannotStartError and ChildEndedError,
    perhaps within exception groups.
    """
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as work:
            async with children(household.environment, household.hear, household.stop_within_s) as running:
                tasks.start_soon(_end_on_signal, work, running, household.console, name="signals")
                click.echo(await start(running))
                await anyio.sleep_forever()
        tasks.cancel_scope.cancel()


async def _end_on_signal(work: anyio.CancelScope, running: Children, console: Console) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            if work.cancel_called:
                running.kill()
            else:
                console.print("stopping")
                work.cancel()


def run_supervised(
    run: Callable[[Household], Awaitable[None]],
    environment: Mapping[str, str],
    *,
    log_level: str,
    stop_within_s: float,
) -> None:
    """Run to the end. The children get `environment`, and `log_level` unless the user asked for another.

    Raises click.ClickException.
    """
    main = click.get_current_context().find_root()
    if main.get_parameter_source("log_level") is not ParameterSource.DEFAULT:
        log_level = main.params["log_level"]
    environment = {**environment, variable("log_level"): log_level}
    try:
        anyio.run(run, Household(environment, Console(stderr=True), stop_within_s))
    except (ExceptionGroup, CannotStartError, ChildEndedError) as error:
        cause = first_cause(error)
        if not isinstance(cause, (CannotStartError, ChildEndedError)):
            raise
        raise click.ClickException(str(cause)) from error
