"""`forebay key revoke`: let nobody in by an API key any more."""

from __future__ import annotations

import click

from forebay.key_keeper import keeper_of
from forebay.option_values import Name
from forebay.options import settings_options
from forebay.settings import KeyStoreSettings


@click.command("revoke")
@click.argument("name", type=Name())
@settings_options(KeyStoreSettings)
def command(settings: KeyStoreSettings, name: str) -> None:
    """Remove the key called NAME: gateways refuse it from two seconds on. What runs, runs to its end."""
    keeper_of(settings).remove(name)
    click.echo(f"{name} is revoked")
