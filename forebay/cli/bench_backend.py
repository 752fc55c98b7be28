"""`forebay bench-backend`: the mock backend of `forebay bench`, hidden from the help."""

from __future__ import annotations

import click
import uvloop

from forebay.bench.mock_backend import serve
from forebay.option_values import Items


@click.command("bench-backend", hidden=True)
@click.option("--ports", type=Items(int), required=True, help="Ports to listen on, one rank on each.")
def command(ports: tuple[int, ...]) -> None:
    """Run the mock backend on 127.0.0.1."""
    try:
        uvloop.run(serve(ports, click.echo))
    except OSError as error:
        raise click.ClickException(str(error)) from error
