"""`forebay restart`: a DP group stops on all its nodes and starts anew."""

from __future__ import annotations

import click

from forebay.ask import ask_store
from forebay.options import settings_options
from forebay.settings import StoreSettings
from scheduler.group_admin import restart


@click.command("restart")
@click.argument("dp_group", metavar="DP_GROUP")
@settings_options(StoreSettings)
def command(settings: StoreSettings, dp_group: str) -> None:
    """Restart DP_GROUP, of several nodes whose agents start its ranks; also one that failed too often to go on."""
    for pool, group in ask_store(settings, lambda store, scheduler: restart(store, dp_group, scheduler)):
        click.echo(f"DP group {group.name} of pool {pool} goes to generation {group.generation.number}")
