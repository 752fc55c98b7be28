"""`forebay undrain`: put drained ranks back."""

from __future__ import annotations

import click

from forebay.ask import ask_store
from forebay.options import settings_options
from forebay.selection_options import selection_options
from forebay.settings import StoreSettings
from scheduler.draining import Selection, drain


@click.command("undrain")
@selection_options
@settings_options(StoreSettings)
def command(settings: StoreSettings, selection: Selection) -> None:
    """Place on RANK again after a drain, or on all ranks of a DP group or node."""
    for pool, rank in ask_store(settings, lambda store, scheduler: drain(store, selection, scheduler, undo=True)):
        click.echo(f"{rank} of pool {pool} is in use again")
