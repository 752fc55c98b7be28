"""A secret that stands in a file, so that neither the list of processes nor the environment shows it."""

from __future__ import annotations

from pathlib import Path

import click

LARGEST_BYTES = 65_536


def secret_in(file: str, option: str) -> str:
    """The text of the file without the blanks around it. Raises click.UsageError that names the option and the file."""
    try:
        with Path(file).open(encoding="ascii") as opened:
            secret = opened.read(LARGEST_BYTES).strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise click.UsageError(f"{option}: cannot read {file}: {why}") from error
    if not secret:
        raise click.UsageError(f"{option}: {file} is empty")
    return secret


def rank_api_key(given: str, file: str) -> str:
    """The key for ranks, from where it was given. Raises click.UsageError."""
    if given and file:
        raise click.UsageError("--rank-api-key and --rank-api-key-file are two ways to give one key")
    key = secret_in(file, "--rank-api-key-file") if file else given
    if not all("!" <= letter <= "~" for letter in key):
        raise click.UsageError(f"--rank-api-key-file: the key in {file} has a blank or a control character in it")
    return key
