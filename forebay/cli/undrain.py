"""`forebay undrain`: put a drained rank back."""

from __future__ import annotations

import click

from forebay.ask import ask_store
from forebay.option_values import Name
from forebay.options import settings_options
from forebay.settings import StoreSettings
from scheduler.admin import drain


@click.command("undrain")
@click.argument("rank", type=Name())
@settings_options(StoreSettings)
def command(settings: StoreSettings, rank: str) -> None:
    """Place on RANK again after a drain."""
    pool = ask_store(settings, lambda store, scheduler: drain(store, rank, scheduler, undo=True))
    click.echo(f"{rank} of pool {pool} is in use again")
