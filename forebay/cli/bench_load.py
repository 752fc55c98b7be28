"""`forebay bench-load`: the load client of `forebay bench`, hidden from the help."""

from __future__ import annotations

import click
import uvloop

from forebay.bench.load_client import serve


@click.command("bench-load", hidden=True)
@click.option("--descriptor", type=click.IntRange(3, 1_000_000), required=True, help="Socket to the parent.")
def command(descriptor: int) -> None:
    """Do the jobs that come over the socket."""
    uvloop.run(serve(descriptor))
