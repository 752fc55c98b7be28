"""`forebay up`: all of Forebay on one machine."""

from __future__ import annotations

import anyio
import click
from rich.console import Console

from forebay.causes import first_cause
from forebay.children import ChildEndedError
from forebay.options import settings_options
from forebay.settings import UpSettings
from forebay.startup import CannotStartError
from forebay.up import up


@click.command("up")
@settings_options(UpSettings)
def command(settings: UpSettings) -> None:
    """Run all of it on this machine: Redis, simulated ranks, an agent, gateways on --port and up.

    Without --redis it starts redis-server if that is installed, else an embedded server.
    """
    try:
        anyio.run(up, settings, click.echo, Console(stderr=True))
    except (ExceptionGroup, CannotStartError, ChildEndedError) as error:
        cause = first_cause(error)
        if not isinstance(cause, (CannotStartError, ChildEndedError)):
            raise
        raise click.ClickException(str(cause)) from error
