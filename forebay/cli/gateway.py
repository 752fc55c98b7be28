"""`forebay gateway`: one stateless gateway."""

from __future__ import annotations

import click

from forebay.options import settings_options
from forebay.service import run_service
from gateway.server import serve
from gateway.settings import GatewaySettings


@click.command("gateway")
@settings_options(GatewaySettings)
def command(settings: GatewaySettings) -> None:
    """Run one gateway: an OpenAI-compatible front that places each request by the shared load."""
    run_service(serve, settings)
