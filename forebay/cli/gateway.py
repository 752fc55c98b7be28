"""`forebay gateway`: one stateless gateway."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click
import msgspec

from forebay.ask import check_store_url
from forebay.drop_in import DropInCommand
from forebay.options import settings_options
from forebay.secret_files import rank_api_key
from forebay.service import run_service
from forebay.settings import GatewayCommandSettings
from forebay.supervise import run_supervised
from forebay.workers import serve_by_workers
from gateway.api_key_file import ApiKeyFileError, read_keys
from gateway.server import LAST_WORDS_S, serve
from gateway.settings import GatewaySettings
from gateway.tls import ServerCertificate
from scheduler.rank_tls import TlsFileError, rank_context

STOP_MARGIN_S = 5.0


def check_key_file(path: str) -> None:
    """Raise click.UsageError for a file that is none of API keys; once, and not by each worker."""
    try:
        read_keys(Path(path))
    except ApiKeyFileError as error:
        raise click.UsageError(f"--api-keys: {error}") from error


def check_tls_files(settings: GatewaySettings) -> None:
    """Raise click.UsageError for certificates, keys or authorities that cannot be used."""
    try:
        ServerCertificate.of(settings)
        rank_context(settings.rank_ca, settings.rank_cert, settings.rank_key)
    except TlsFileError as error:
        raise click.UsageError(str(error)) from error


@click.command("gateway", cls=DropInCommand)
@settings_options(GatewayCommandSettings)
def command(settings: GatewayCommandSettings) -> None:
    """Run one gateway: an OpenAI-compatible front that places each request by the shared load."""
    key = rank_api_key(settings.gateway.rank_api_key, settings.rank_api_key_file)
    settings = msgspec.structs.replace(
        settings, gateway=msgspec.structs.replace(settings.gateway, rank_api_key=key), rank_api_key_file=""
    )
    if settings.gateway.api_keys:
        check_key_file(settings.gateway.api_keys)
    if settings.workers == 1:
        run_service(serve, settings.gateway)
    else:
        # Refused once, here, and not by each worker.
        check_store_url(settings.gateway.redis)
        check_tls_files(settings.gateway)
        stop_within_s = settings.gateway.drain_s + LAST_WORDS_S + STOP_MARGIN_S
        run_supervised(partial(serve_by_workers, settings), os.environ, log_level="info", stop_within_s=stop_within_s)
