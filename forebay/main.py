"""The `forebay` command: one module per command under `forebay/cli/`, imported when it is called."""

from __future__ import annotations

import importlib
import logging
import os

import click

from forebay.causes import is_caused_by
from forebay.hidden_urls import without_urls
from forebay.options import ENVIRONMENT_PREFIX, variable
from forebay.parent import die_with
from forebay.service_links import drop_service_links
from forebay.unknown_variables import refuse_unknown_variables
from scheduler.errors import StoreUrlError

COMMANDS = (
    *("up", "proxy", "gateway", "agent", "rank", "status", "drain", "undrain", "restart", "explain", "key"),
    *("redis-users", "preflight", "batch", "bench", "simulate"),
    *("gateway-worker", "local-redis", "bench-backend", "bench-load", "bench-peer"),
)
LOG_LEVELS = ("debug", "info", "warning", "error")

LARGEST_PID = 1 << 22
"""PID_MAX_LIMIT of Linux."""

log = logging.getLogger(__name__)


class Commands(click.Group):
    """Imports a command's module only when the command is asked for: a rank needs no gateway in its memory."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order the help shows them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, if there is one."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"forebay.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command asked for. What it refuses is told without a URL that was given in a wrong place."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            said = error.format_message()
            shown = without_urls(said)
            # Our own complaints about a URL show what form it has, and nothing of it.
            if shown == said or is_caused_by(error, StoreUrlError):
                raise
            raise click.UsageError(shown, ctx=error.ctx) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="forebay")
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    default="info",
    envvar=variable("log_level"),
    show_default=True,
    show_envvar=True,
    help="What the log, on standard error, begins with.",
)
@click.option(
    "--die-with",
    "parent_pid",
    type=click.IntRange(1, LARGEST_PID),
    hidden=True,
    help="End when this process, the parent, ends.",
)
@click.pass_context
def main(ctx: click.Context, log_level: str, parent_pid: int | None) -> None:
    """Stateless OpenAI-compatible gateways that place LLM requests by shared load."""
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # At its info level httpx has a line for every probe of a rank.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if parent_pid is not None:
        die_with(parent_pid)
    # Taken out of our environment, so that neither our options nor our children see them.
    if links := drop_service_links(os.environ, ENVIRONMENT_PREFIX):
        log.info("ignored, since they are Kubernetes's (enableServiceLinks): %s", ", ".join(links))
    if isinstance(ctx.command, click.Group):
        refuse_unknown_variables(ctx.command, ctx, os.environ)
