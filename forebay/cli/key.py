"""`forebay key`: the API keys that clients bring; one module per command."""

from __future__ import annotations

import click

from forebay.cli import key_list, key_new, key_revoke, key_set


@click.group("key")
def command() -> None:
    """Make, show, change and revoke API keys, in a file (--keys) or in Redis (--redis).

    Gateways let them in with --api-keys FILE or --redis-keys. Kept is a key's SHA-256: nobody can be shown it again.
    """


for each in (key_new.command, key_list.command, key_set.command, key_revoke.command):
    command.add_command(each)
