"""`forebay preflight`: what would keep this node's ranks from serving."""

from __future__ import annotations

import anyio
import click
import msgspec
from rich.console import Console

from forebay.options import settings_options
from forebay.preflight.preflight import preflight
from forebay.preflight.report import tables
from forebay.preflight.settings import PreflightSettings
from forebay.secret_files import rank_api_key
from scheduler.errors import StoreUrlError
from scheduler.rank_tls import TlsFileError

WIDTH = 130


@click.command("preflight")
@click.option("--json", "as_json", is_flag=True, help="For programs: findings and matrix as JSON.")
@settings_options(PreflightSettings)
def command(settings: PreflightSettings, *, as_json: bool) -> None:
    """Check this node, the store and the ranks before they serve: ports, links, versions, who reaches whom.

    Exit code 1 if anything is bad. Run it on each node: whether one reaches another is only seen there.
    """
    key = rank_api_key(settings.rank_api_key, settings.rank_api_key_file)
    try:
        report = anyio.run(preflight, msgspec.structs.replace(settings, rank_api_key=key))
    except (StoreUrlError, TlsFileError) as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        Console(highlight=False, width=max(WIDTH, Console().width)).print(*tables(report), sep="\n")
    if not report.is_good:
        raise SystemExit(1)
