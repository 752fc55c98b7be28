"""`forebay bench-backend`: the mock backend of `forebay bench`, hidden from the help."""

from __future__ import annotations

from typing import Annotated, get_args

import click
import uvloop
from msgspec import Meta

from forebay.bench.mock_backend import serve
from forebay.bench.settings import ChunkTimes
from forebay.option_values import Items


@click.command("bench-backend", hidden=True)
@click.option(
    "--ports",
    type=Items(Annotated[int, Meta(ge=1, le=65_535)]),
    required=True,
    help="Ports to listen on, one rank on each.",
)
@click.option(
    "--chunk-times", type=click.Choice(get_args(ChunkTimes)), default="steps", help="When streams have their chunks."
)
def command(ports: tuple[int, ...], chunk_times: ChunkTimes) -> None:
    """Run the mock backend on 127.0.0.1."""
    try:
        uvloop.run(serve(ports, chunk_times, click.echo))
    except OSError as error:
        raise click.ClickException(str(error)) from error
