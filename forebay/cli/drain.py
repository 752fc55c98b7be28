"""`forebay drain`: take a rank out of placement."""

from __future__ import annotations

import click

from forebay.ask import ask_store
from forebay.option_values import Name
from forebay.options import settings_options
from forebay.settings import StoreSettings
from scheduler.admin import drain


@click.command("drain")
@click.argument("rank", type=Name())
@settings_options(StoreSettings)
def command(settings: StoreSettings, rank: str) -> None:
    """Place nothing more on RANK (a name as in `forebay status`); what it has, it finishes."""
    pool = ask_store(settings, lambda store, scheduler: drain(store, rank, scheduler))
    click.echo(f"{rank} of pool {pool} is drained: nothing more is placed on it")
