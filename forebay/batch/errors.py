"""What can go wrong with a batch."""

from __future__ import annotations


class BatchInputError(Exception):
    """The batch cannot be begun; the message names the file and, where there is one, the line."""

    def __init__(self, file: str, reason: str, line: int | None = None) -> None:
        super().__init__(f"{file}: {reason}" if line is None else f"{file}, line {line}: {reason}")


class OutputError(Exception):
    """An answer could not be written; the message names the file."""
