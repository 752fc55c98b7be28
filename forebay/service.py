"""Runs one of the long-lived processes: its loop, its ready line, and how it ends."""

from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click
import uvloop

from agent.errors import LaunchError
from forebay.causes import first_cause
from scheduler.errors import StoreRejectedError, StoreUrlError
from scheduler.rank_tls import TlsFileError

Settings = TypeVar("Settings")

USAGE = (StoreUrlError, TlsFileError)
"""Settings that turn out wrong only when they are used."""

INCURABLE = (StoreRejectedError, LaunchError, OSError)
"""What no retry cures, a port that is taken among them."""


COLLECT_AFTER = (700, 10, 100)
"""Python's own, but for the last, which is 10 there. To look through what a thousand streams hold takes 100 to 250 ms,
for which no token passes; and nothing of it is garbage, as they make no cycles."""


def run_service(
    serve: Callable[[Settings, Callable[[str], None]], Coroutine[Any, Any, None]], settings: Settings
) -> None:
    """Run until `serve` returns, which it does on SIGTERM and SIGINT.

    `serve` says once when it is ready; that line goes to standard output. Raises click.ClickException: with exit
    code 2 for settings that turn out wrong, with 1 for what cannot be cured here.
    """

    def ready(line: str) -> None:
        # What was made until now stays: to look through it again and again would stop the process for 40 ms each time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        click.echo(line)

    try:
        uvloop.run(serve(settings, ready))
    except (ExceptionGroup, *USAGE, *INCURABLE) as error:
        if shown := refusal(error):
            raise shown from error
        raise


def refusal(error: Exception) -> click.ClickException | None:
    """What to tell the user of an error that is not ours to mend; None for any other error."""
    cause = first_cause(error)
    if isinstance(cause, USAGE):
        return click.UsageError(str(cause))
    return click.ClickException(str(cause)) if isinstance(cause, INCURABLE) else None
