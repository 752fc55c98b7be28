"""The answers of a batch as they come, in a file that outlives the process, and from it the output in order.

The journal's lines are lines of the output. One that a killed process has torn is cut off; one that is no answer to
today's input, or not the answer asked for, is passed over.
"""

from __future__ import annotations

import fcntl
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from forebay.batch.errors import BatchInputError, OutputError
from forebay.batch.lines import ID_PREFIX, Outcome, id_of
from forebay.batch.roster import Roster

SUFFIX = ".journal"
PARTIAL_SUFFIX = ".partial"
PIECE_BYTES = 1 << 20
BEGINNING = b'{"id":"' + ID_PREFIX.encode()
"""Of each line that is written; a kill may leave no more than a part of one."""

BEGUN = "a batch has been begun there; go on with --resume, or remove it"


class Journal:
    """`file` is open for reading and appending, and starts where what is known of `roster` ends."""

    def __init__(self, file: BinaryIO, name: str, roster: Roster) -> None:
        self.done = 0
        self.failed = 0
        self._file = file
        self._name = name
        self._roster = roster
        self._end = 0
        self._starts = array("Q", bytes(8 * len(roster)))  # one more than the offset; 0: no answer yet
        self._is_ok = bytearray(len(roster))

    def load(self) -> None:
        """Take over what an earlier run has left. Raises OutputError, and BatchInputError as `adopt` does."""
        with naming(self._name):
            self._end = _whole_lines_bytes(self._file)
            self._file.truncate(self._end)
            self._file.seek(0)
            offset = 0
            for line, outcome, place in self._own(self._file, self._name):
                if outcome is not None and outcome.is_ok and place is not None:
                    self._count(place, offset, ok=True)
                offset += len(line)

    def adopt(self, output: BinaryIO, name: str) -> None:
        """Take over the answers of an output that was finished.

        Raises OutputError, and BatchInputError where what there is was all asked by another input: it would be lost.
        """
        for line, outcome, place in self._own(output, name):
            if outcome is None or place is None or not outcome.is_ok or not line.endswith(b"\n"):
                continue
            if not self.is_answered(place):
                self.append(place, outcome, line)

    def _own(self, file: BinaryIO, name: str) -> Iterator[tuple[bytes, Outcome | None, int | None]]:
        """Each line of a file, what it says, and its place; None where it is no answer to a line of today's input."""
        is_ours, is_others = False, False
        for line in file:
            outcome = _outcome(line)
            place = self._place_of(outcome)
            is_ours |= place is not None
            is_others |= outcome is not None and place is None
            yield line, outcome, place
        if is_others and not is_ours:
            raise BatchInputError(name, "its answers are all to another input, and --resume would write it over")

    def _place_of(self, outcome: Outcome | None) -> int | None:
        place = self._roster.place_of(outcome.custom_id) if outcome is not None else None
        if outcome is None or place is None or outcome.id != id_of(self._roster.mark(place)):
            return None
        return place

    def is_answered(self, place: int) -> bool:
        """Whether the request at a place has the answer it asked for."""
        return bool(self._is_ok[place])

    def open_places(self) -> Iterator[int]:
        """The places of the requests to be asked, in order; those answered meanwhile are left out."""
        return (place for place in range(len(self._roster)) if not self.is_answered(place))

    def append(self, place: int, outcome: Outcome, line: bytes | None = None) -> None:
        """Write down what came of a request. Raises OutputError, and then nothing of it is left."""
        line = line or msgspec.json.encode(outcome) + b"\n"
        with naming(self._name):
            # Past the file's buffer, which would keep what cannot be written and try it again at the end.
            _write(self._file.fileno(), line, self._end)
        self._count(place, self._end, ok=outcome.is_ok)
        self._end += len(line)

    def line(self, place: int) -> bytes:
        """The line of the output for a request; empty while there is none."""
        if not self._starts[place]:
            return b""
        self._file.seek(self._starts[place] - 1)
        return self._file.readline()

    def failures(self) -> Iterator[Outcome]:
        """What went wrong, in the order of the input."""
        for place in range(len(self._roster)):
            if self._starts[place] and not self._is_ok[place]:
                yield msgspec.json.decode(self.line(place), type=Outcome)

    def write_in_order(self, output: Path, *, is_over: bool) -> None:
        """Make the output, all of it or none; `is_over`: over an earlier one. Raises OutputError."""
        partial = partial_of(output)
        if not is_over and output.exists():
            words = f"the answers are in {self._name}: move it away, and go on with --resume"
            raise OutputError(f"{output}: it was written by somebody else meanwhile; {words}")
        with naming(str(output)):
            try:
                with partial.open("wb") as file:
                    for place in range(len(self._roster)):
                        file.write(self.line(place))
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(output)
            finally:
                partial.unlink(missing_ok=True)

    def _count(self, place: int, offset: int, *, ok: bool) -> None:
        if not self._starts[place]:
            self.done += 1
            self.failed += not ok
        self._starts[place] = offset + 1
        self._is_ok[place] = ok


def open_journal(output: Path, *, resume: bool) -> BinaryIO:
    """The journal beside an output, for this process alone; new unless it is to `resume`. Raises BatchInputError."""
    path = journal_of(output)
    while True:
        try:
            file = path.open("a+b" if resume else "x+b")
        except FileExistsError as error:
            raise BatchInputError(str(path), BEGUN) from error
        except OSError as error:
            raise BatchInputError(str(path), f"it cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise BatchInputError(str(path), "another process is at work on it") from error
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()  # whoever was at work on it has removed it


def journal_of(output: Path) -> Path:
    """Where the answers stand until all are there."""
    return output.with_name(output.name + SUFFIX)


def partial_of(output: Path) -> Path:
    """Where the output is written until all of it is there."""
    return output.with_name(output.name + PARTIAL_SUFFIX)


def holds_answers(path: Path) -> bool:
    """Whether a file is what a batch has left: it has an answer in it, the beginning of one, or nothing."""
    with path.open("rb") as file:
        if BEGINNING.startswith(file.read(len(BEGINNING))):
            return True
        file.seek(0)
        outcomes = filter(None, map(_outcome, file))
        return any(outcome.id.startswith(ID_PREFIX) for outcome in outcomes)


class naming:  # noqa: N801 - read as the statement it is
    """Has an OSError say which file it is about."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        # Whoever reads a pipe may have enough of it: that is no error.
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise OutputError(f"{self._name}: it cannot be written: {error.strerror or error}") from error


def _write(descriptor: int, content: bytes, offset: int) -> None:
    """All of it, or nothing of it is left."""
    written = 0
    try:
        while written < len(content):
            written += os.pwrite(descriptor, content[written:], offset + written)
    except OSError:
        os.ftruncate(descriptor, offset)
        raise


def _outcome(line: bytes) -> Outcome | None:
    try:
        return msgspec.json.decode(line, type=Outcome)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _whole_lines_bytes(file: BinaryIO) -> int:
    """How much of the file ends with a line's end."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - PIECE_BYTES)
        file.seek(begin)
        if (found := file.read(end - begin).rfind(b"\n")) >= 0:
            return begin + found + 1
        end = begin
    return 0
