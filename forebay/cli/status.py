"""`forebay status`: ranks, loads, ages, gateways, reservations."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console

from forebay.ask import ask_store
from forebay.options import settings_options
from forebay.settings import StoreSettings
from forebay.status_tables import tables
from scheduler.admin import status

WIDTH = 158
"""What the widest table needs, give or take a long name."""


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="For programs: ranks, gateways, reservations as JSON.")
@settings_options(StoreSettings)
def command(settings: StoreSettings, *, as_json: bool) -> None:
    """Show what the store knows: ranks, their loads and ages, gateways, reservations."""
    found = ask_store(settings, status)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        # Names are for copying: on a narrow terminal rather a line too long than a name cut.
        console = Console(highlight=False, width=max(WIDTH, Console().width))
        console.print(*tables(found), sep="\n")
