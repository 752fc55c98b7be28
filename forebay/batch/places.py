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
from forebay.batch.journal import BEGUN, holds_answers, journal_of, partial_of

STANDARD = "-"
NO_NAME = "the name of the file is empty"
WRITTEN = "a batch was written there; go on with --resume, or remove it"


@contextmanager
def input_file(given: str) -> Iterator[BinaryIO]:
    """The input, in which one can go back; standard input is copied to a temporary file. Raises BatchInputError."""
    if not given:
        raise BatchInputError("INPUT", NO_NAME)
    try:
        # Closed at the end of this `with` of ours.
        file: BinaryIO = TemporaryFile() if given == STANDARD else Path(given).open("rb")  # noqa: SIM115
    except OSError as error:
        raise BatchInputError(given, f"it cannot be read: {error.strerror}") from error
    with file:
        if given == STANDARD:
            _copy_standard_input(file)
        elif not file.seekable():
            raise BatchInputError(given, "it is no file that can be read twice; give - and feed standard input")
        yield file


def output_path(given: str, read_from: str, *, resume: bool) -> Path | None:
    """Where the output goes, standard output if None. Raises BatchInputError."""
    if given == STANDARD:
        if resume:
            raise BatchInputError("-o -", "there is nothing to resume on standard output")
        if sys.stdout is None:
            raise BatchInputError("-o -", "standard output is closed")
        return None
    if not given:
        raise BatchInputError("-o", NO_NAME)
    path = Path(given).resolve()
    try:
        _check(path, given, read_from, resume=resume)
    except OSError as error:
        raise BatchInputError(given, f"it cannot be written: {error.strerror}") from error
    return path


def is_to_be_written_over(path: Path, *, resume: bool) -> bool:
    """Whether there is an output of an earlier run. Raises BatchInputError for a file that is not to be lost."""
    return _is_of_a_batch(path, WRITTEN, resume=resume)


def _check(path: Path, given: str, read_from: str, *, resume: bool) -> None:
    own = {path: WRITTEN, journal_of(path): BEGUN, partial_of(path): BEGUN}
    if read_from != STANDARD and Path(read_from).resolve() in own:
        raise BatchInputError(given, "the input would be written over")
    if not path.parent.is_dir():
        raise BatchInputError(given, f"there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        raise BatchInputError(given, "it is no regular file; for a pipe give -o -")
    for each, what in own.items():
        _is_of_a_batch(each, what, resume=resume)


def _is_of_a_batch(path: Path, what: str, *, resume: bool) -> bool:
    """Whether there is a file that an earlier run has left; `what` it is. Raises BatchInputError for any other file."""
    if not path.exists():
        return False
    if not resume:
        raise BatchInputError(str(path), what)
    if not holds_answers(path):
        raise BatchInputError(str(path), "there is no answer of a batch in it, and --resume would write it over")
    return True


def _copy_standard_input(file: BinaryIO) -> None:
    if sys.stdin is None:
        raise BatchInputError(STANDARD, "standard input is closed")
    try:
        copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise BatchInputError(STANDARD, f"it cannot be copied to a temporary file: {error.strerror}") from error
