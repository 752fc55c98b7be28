"""`forebay proxy`: stands in for the proxies that vllm-ascend ships, with their own command lines."""

from __future__ import annotations

import logging
import os
from functools import partial

import click
import msgspec

from forebay.ask import check_store_url
from forebay.cli.gateway import STOP_MARGIN_S
from forebay.drop_in import DropInCommand
from forebay.options import settings_options
from forebay.proxy.notes import notes_on
from forebay.proxy.proxy import serve, serve_workers
from forebay.proxy.settings import ProxySettings
from forebay.proxy.words import translated
from forebay.secret_files import rank_api_key
from forebay.service import INCURABLE, USAGE, refusal, run_service
from forebay.supervise import run_supervised
from gateway.server import LAST_WORDS_S

OPENAI_KEY = "OPENAI_API_KEY"
"""From where the proxies that are stood in for have the key for their ranks."""
LEVELS = ("debug", "info", "warning", "error", "critical")
LEAST_OF_CHILDREN = {"critical": "error"}
"""Our own processes know no `critical`."""


class ProxyCommand(DropInCommand):
    """Takes the words of the proxies that it stands in for."""

    def translate(self, words: list[str]) -> list[str]:
        """Raises WordsError."""
        return translated(words)


@click.command("proxy", cls=ProxyCommand, options_metavar="[SCRIPT.py] [OPTIONS]")
@settings_options(ProxySettings)
@click.option(
    "--log-level", type=click.Choice(LEVELS, case_sensitive=False), help="What the log, on standard error, begins with."
)
def command(settings: ProxySettings, log_level: str | None) -> None:
    """Stand in for a proxy of vllm-ascend: put `forebay proxy` where `python` stands, and leave the rest as it is.

    The scripts are dp_load_balance_proxy_server.py, load_balance_proxy_server_example.py (of main and of v0.9.1),
    load_balance_proxy_layerwise_server_example.py and hybrid_proxy_server.py. Agents and gateway run in this process.
    """
    if log_level:
        logging.getLogger().setLevel(log_level.upper())
    for note in notes_on(settings):
        click.echo(note, err=True)
    if settings.redis:
        check_store_url(settings.redis)
    settings = msgspec.structs.replace(settings, rank_api_key=_rank_api_key(settings), rank_api_key_file="")
    if settings.workers == 1:
        run_service(serve, settings)
    else:
        _run_workers(settings, LEAST_OF_CHILDREN.get(log_level or "", log_level or "info"))


def _rank_api_key(settings: ProxySettings) -> str:
    """Raises click.UsageError."""
    given = rank_api_key(settings.rank_api_key, settings.rank_api_key_file)
    theirs = os.environ.get(OPENAI_KEY, "").strip()
    if not given and not all("!" <= letter <= "~" for letter in theirs):
        raise click.UsageError(f"the key in {OPENAI_KEY} has a blank or a control character in it")
    return given or theirs


def _run_workers(settings: ProxySettings, log_level: str) -> None:
    """Raises click.ClickException, as `run_service` does."""
    run = partial(serve_workers, settings, click.echo)
    stop_within_s = settings.drain_s + LAST_WORDS_S + STOP_MARGIN_S
    try:
        run_supervised(run, os.environ, log_level=log_level, stop_within_s=stop_within_s)
    except (ExceptionGroup, *USAGE, *INCURABLE) as error:
        if shown := refusal(error):
            raise shown from error
        raise
