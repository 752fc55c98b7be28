"""`forebay gateway-worker`: one of the processes of `forebay gateway --workers`, hidden from the help."""

from __future__ import annotations

import click

from forebay.options import settings_options
from forebay.service import run_service
from gateway.settings import GatewaySettings
from gateway.worker import WorkerSettings, serve_worker

NUMBER = click.IntRange(0, 1 << 20)


@click.command("gateway-worker", hidden=True)
@settings_options(GatewaySettings)
@click.option("--worker", type=NUMBER, required=True, help="Which one it is.")
@click.option("--of", "workers", type=NUMBER, required=True, help="How many there are.")
@click.option("--listener-fd", type=NUMBER, required=True, help="The listening socket.")
@click.option("--counts-fd", type=NUMBER, required=True, help="The memory with the connection counts.")
@click.option("--link-fd", type=NUMBER, required=True, help="The socket to the supervisor.")
@click.option("--has-site", is_flag=True, help="The supervisor answers for the site.")
def command(settings: GatewaySettings, has_site: bool, **inherited: int) -> None:
    """Serve clients of a port that other workers serve too."""
    run_service(serve_worker, WorkerSettings(gateway=settings, has_site=has_site, **inherited))
