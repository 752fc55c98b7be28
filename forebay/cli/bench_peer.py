"""`forebay bench-peer`: another proxy that `forebay bench` measures, hidden from the help."""

from __future__ import annotations

import os

import click


@click.command("bench-peer", hidden=True)
@click.argument("command_line", nargs=-1, required=True)
def command(command_line: tuple[str, ...]) -> None:
    """Become COMMAND_LINE; --die-with holds for it too."""
    try:
        os.execvp(command_line[0], command_line)  # noqa: S606
    except OSError as error:
        raise click.ClickException(f"{command_line[0]}: {error.strerror}") from error
