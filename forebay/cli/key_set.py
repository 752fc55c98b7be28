"""`forebay key set`: other limits for an API key."""

from __future__ import annotations

import click
import msgspec

from forebay.key_keeper import keeper_of
from forebay.key_options import key_options, parsed
from forebay.option_values import Name
from forebay.options import settings_options
from forebay.settings import KeyStoreSettings
from scheduler.api_keys import ApiKey


@click.command("set")
@click.argument("name", type=Name())
@key_options
@settings_options(KeyStoreSettings)
def command(settings: KeyStoreSettings, name: str, **changes: object) -> None:
    """Change what the key called NAME may; what is not named stays. Gateways know within two seconds."""
    if not changes:
        raise click.UsageError("There is nothing to change")

    def changed(key: ApiKey) -> ApiKey:
        return parsed(**(msgspec.structs.asdict(key) | changes))

    keeper_of(settings).change(name, changed)
    click.echo(f"{name} is changed")
