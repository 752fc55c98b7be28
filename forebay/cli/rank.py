"""`forebay rank`: one simulated vLLM rank."""

from __future__ import annotations

import click

from forebay.options import settings_options
from forebay.service import run_service
from simulator.server import RankCrashedError, serve
from simulator.settings import RankSettings


@click.command("rank")
@settings_options(RankSettings)
def command(settings: RankSettings) -> None:
    """Run one simulated vLLM rank: vLLM's HTTP and metrics, with timing from a model."""
    try:
        run_service(serve, settings)
    except RankCrashedError as error:
        raise click.ClickException(str(error)) from error
