"""`forebay up`: all of Forebay on one machine."""

from __future__ import annotations

import os

import anyio
import click
from click.core import ParameterSource
from rich.console import Console

from forebay.causes import first_cause
from forebay.children import ChildEndedError
from forebay.options import settings_options, variable
from forebay.settings import UpSettings
from forebay.startup import CannotStartError
from forebay.up import up


@click.command("up")
@settings_options(UpSettings)
def command(settings: UpSettings) -> None:
    """Run all of it on this machine: Redis, simulated ranks, an agent, gateways on --port and up.

    Without --redis it starts redis-server if that is installed, else an embedded server.
    """
    environment = {**os.environ, variable("log_level"): log_level(click.get_current_context().find_root())}
    try:
        anyio.run(up, settings, environment, click.echo, Console(stderr=True))
    except (ExceptionGroup, CannotStartError, ChildEndedError) as error:
        cause = first_cause(error)
        if not isinstance(cause, (CannotStartError, ChildEndedError)):
            raise
        raise click.ClickException(str(cause)) from error


def log_level(main: click.Context) -> str:
    """For the children: as asked for, else without a line per request, too much for one terminal."""
    asked = main.get_parameter_source("log_level") is not ParameterSource.DEFAULT
    return str(main.params["log_level"]) if asked else "warning"
