"""Files that a command writes what it found to, at its end."""

from __future__ import annotations

from pathlib import Path

import click


def check_result_file(file: str) -> None:
    """Raise click.UsageError for what could not be written, before minutes are spent on it; "" is no file."""
    if not file:
        return
    if not Path(file).absolute().parent.is_dir():
        raise click.UsageError(f"{file}: there is no such folder")
    if Path(file).is_dir():
        raise click.UsageError(f"{file}: that is a folder")


def write_result(file: str, content: bytes) -> None:
    """Raises click.ClickException where it cannot be written."""
    try:
        Path(file).write_bytes(content)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror or error}") from error
