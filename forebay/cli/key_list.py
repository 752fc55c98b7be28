"""`forebay key list`: the API keys there are."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console
from rich.table import Table

from forebay.key_keeper import keeper_of
from forebay.options import settings_options
from forebay.settings import KeyStoreSettings
from scheduler.api_keys import ApiKey

WIDTH = 120
COLUMNS = ("name", "created", "expires", "requests/min", "tokens/min", "at once", "models")


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs: a line of JSON for each, as a file has it.")
@settings_options(KeyStoreSettings)
def command(settings: KeyStoreSettings, *, as_json: bool) -> None:
    """Show the keys: names, dates, limits, models; never a key."""
    keys, bad = keeper_of(settings).all()
    for name, why in sorted(bad.items()):
        click.echo(f"no key, and nobody is let in by it: {name!r}: {why}", err=True)
    if as_json:
        for key in keys:
            click.echo(msgspec.json.encode(key))
        return
    table = Table(*COLUMNS, box=None)
    for key in keys:
        table.add_row(*_row(key))
    console = Console(highlight=False, markup=False, width=max(WIDTH, Console().width))
    console.print(table)


def _row(key: ApiKey) -> tuple[str, ...]:
    limits = (key.requests_per_minute, key.tokens_per_minute, key.requests_at_once)
    return (
        key.name,
        f"{key.created:%Y-%m-%d}",
        f"{key.expires:%Y-%m-%d %H:%M}" if key.expires else "-",
        *(str(limit) if limit else "-" for limit in limits),
        " ".join(key.models) or "all",
    )
