"""`forebay key new`: make an API key."""

from __future__ import annotations

from datetime import UTC, datetime
from secrets import token_urlsafe

import click

from forebay.key_keeper import keeper_of
from forebay.key_options import key_options, name_option, parsed
from forebay.options import settings_options
from forebay.settings import KeyStoreSettings
from scheduler.api_keys import digest_of, new_key


@click.command("new")
@name_option
@key_options
@settings_options(KeyStoreSettings)
def command(settings: KeyStoreSettings, name: str, **limits: object) -> None:
    """Make a key and print it, this once: only the SHA-256 of it is kept."""
    key = new_key(token_urlsafe)
    made = parsed(
        name=name, sha256=digest_of(key.encode()).hex(), created=datetime.now(tz=UTC).replace(microsecond=0), **limits
    )
    keeper_of(settings).add(made)
    click.echo(f"{name} is let in, and this is shown once:", err=True)
    click.echo(key)
