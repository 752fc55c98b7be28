"""`forebay up`: all of Forebay on one machine."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from functools import partial

import click
from click.core import ParameterSource

from forebay.ask import check_store_url
from forebay.inheritance import inherited
from forebay.invocation import Invocation, program
from forebay.options import ENVIRONMENT_PREFIX, settings_options, variable
from forebay.settings import UpSettings
from forebay.supervise import run_supervised
from forebay.up import up

STOP_WITHIN_S = 8.0

log = logging.getLogger(__name__)


@click.command("up")
@settings_options(UpSettings)
def command(settings: UpSettings) -> None:
    """Run all of it on this machine: Redis, simulated ranks, agents, gateways on --port and up.

    Without --redis it starts redis-server if that is installed, else an embedded server. The environment variables of
    other commands are not passed on to what it starts.
    """
    if settings.redis:
        check_store_url(settings.redis)
    ctx = click.get_current_context()
    if unused := sorted(_ours(os.environ) - _read_here(ctx)):
        log.warning("not passed on to what up starts: %s", ", ".join(unused))
    # A line per request is too much for one terminal.
    environment = inherited(os.environ)
    run = partial(up, settings, _invocation(ctx))
    run_supervised(run, environment, log_level="warning", stop_within_s=STOP_WITHIN_S)


def _invocation(ctx: click.Context) -> Invocation:
    by_option = ctx.get_parameter_source("redis") is ParameterSource.COMMANDLINE
    return Invocation(program(sys.orig_argv, sys.argv), "--redis" if by_option else variable("redis"))


def _ours(environment: Mapping[str, str]) -> set[str]:
    return {name for name in environment if name.startswith(ENVIRONMENT_PREFIX)}


def _read_here(ctx: click.Context) -> set[str]:
    """The variables of `up` and of `forebay` itself."""
    parameters = [*ctx.command.params, *ctx.find_root().command.params]
    return {str(parameter.envvar) for parameter in parameters if parameter.envvar}
