"""`forebay batch`: a file of requests, answered through a gateway."""

from __future__ import annotations

import click
from rich.console import Console

from forebay.batch.batch import Result, batch
from forebay.batch.errors import BatchInputError, OutputError
from forebay.batch.lines import reason_of
from forebay.batch.settings import BatchSettings
from forebay.causes import first_cause
from forebay.model_server.errors import ServerError
from forebay.model_server.server import server_of
from forebay.open_files import OTHER_FILES, allow_open_files
from forebay.options import settings_options
from forebay.printable import printable

LONGEST_NAME = 100


class BadInputError(click.ClickException):
    """An input that cannot be asked, told in one line."""

    exit_code = 2


@click.command("batch")
@click.argument("read_from", metavar="INPUT")
@settings_options(BatchSettings)
@click.option("-o", "--output", "write_to", required=True, metavar="OUTPUT", help="File for the answers; - for stdout.")
def command(settings: BatchSettings, read_from: str, write_to: str) -> None:
    """Answer the requests of a file in OpenAI's batch format; - reads standard input.

    The output has a line for each request, in the input's order, written when all are done. Until then answers stand
    in OUTPUT.journal; after a kill or Ctrl-C, --resume asks only what is not in it. After failures, --resume asks
    those that failed. Ends with 0 if all requests succeeded, 1 if some did not, 2 for an input that cannot be asked.
    """
    console = Console(stderr=True)
    server = server_of(settings.server)
    if allow_open_files(settings.concurrency + OTHER_FILES) < settings.concurrency + OTHER_FILES:
        raise click.UsageError("--concurrency: the system allows fewer open files (ulimit -Hn)")
    try:
        result = batch(settings, server, read_from, write_to, console)
    except (ExceptionGroup, BatchInputError, OutputError, ServerError) as error:
        cause = first_cause(error)
        if isinstance(cause, BrokenPipeError):
            raise cause from error
        if not isinstance(cause, BatchInputError | OutputError | ServerError):
            raise
        refusal = BadInputError if isinstance(cause, BatchInputError) else click.ClickException
        raise refusal(printable(str(cause))) from error
    _tell(result, write_to)
    if result.failed or result.interrupted:
        raise click.exceptions.Exit(1)


def _tell(result: Result, write_to: str) -> None:
    for outcome in result.failures:
        told = f"failed: {outcome.custom_id[:LONGEST_NAME]}: {reason_of(outcome)}"
        click.echo(printable(told).replace("\n", " "), err=True)
    if result.failed > len(result.failures):
        click.echo(f"failed: {result.failed - len(result.failures)} more", err=True)
    words = f"{result.done - result.failed} of {result.total} requests succeeded, {result.failed} failed"
    if result.interrupted:
        words += ", the rest was not asked: interrupted"
    resumable = write_to != "-" and (result.failed or result.interrupted)
    click.echo(words + ("; --resume asks what is missing" if resumable else ""), err=True)
