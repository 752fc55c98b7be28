"""Where a batch is read from and written to: files or the standard streams, looked at before anything is asked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import BinaryIO

from forebay.batch.errors import BatchInputError
from forebay.batch.journal import journal_of

STANDARD = "-"


@contextmanager
def input_file(given: str) -> Iterator[BinaryIO]:
    """The input, in which one can go back; standard input is copied to a temporary file. Raises BatchInputError."""
    try:
        # Closed at the end of this `with` of ours.
        file: BinaryIO = TemporaryFile() if given == STANDARD else Path(given).open("rb")  # noqa: SIM115
    except OSError as error:
        raise BatchInputError(given, f"it cannot be read: {error.strerror}") from error
    with file:
        if given == STANDARD:
            copyfileobj(sys.stdin.buffer, file)
        elif not file.seekable():
            raise BatchInputError(given, "it is no file that can be read twice; give - and feed standard input")
        yield file


def output_path(given: str, read_from: str, *, resume: bool) -> Path | None:
    """Where the output goes, standard output if None. Raises BatchInputError."""
    if given == STANDARD:
        if resume:
            raise BatchInputError("-o -", "there is nothing to resume on standard output")
        return None
    path = Path(given).resolve()
    try:
        _check(path, given, read_from, resume=resume)
    except OSError as error:
        raise BatchInputError(given, f"it cannot be written: {error.strerror}") from error
    return path


def _check(path: Path, given: str, read_from: str, *, resume: bool) -> None:
    journal = journal_of(path)
    if read_from != STANDARD and Path(read_from).resolve() in {path, journal}:
        raise BatchInputError(given, "it is the input, and would be written over")
    if not path.parent.is_dir():
        raise BatchInputError(given, f"there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        raise BatchInputError(given, "it is no regular file; for a pipe give -o -")
    if not resume:
        for each, what in ((path, "a batch was written there"), (journal, "a batch has been begun there")):
            if each.exists():
                raise BatchInputError(str(each), f"{what}; go on with --resume, or remove it")
