"""`forebay up`: all of Forebay on one machine."""

from __future__ import annotations

from functools import partial

import click

from forebay.options import settings_options
from forebay.settings import UpSettings
from forebay.supervise import run_supervised
from forebay.up import up

STOP_WITHIN_S = 8.0


@click.command("up")
@settings_options(UpSettings)
def command(settings: UpSettings) -> None:
    """Run all of it on this machine: Redis, simulated ranks, an agent, gateways on --port and up.

    Without --redis it starts redis-server if that is installed, else an embedded server.
    """
    # A line per request is too much for one terminal.
    run_supervised(partial(up, settings), log_level="warning", stop_within_s=STOP_WITHIN_S)
