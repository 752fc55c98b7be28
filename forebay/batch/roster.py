"""The input of a batch, read through once: what each line is, where it stands, and that all of them can be asked."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from hashlib import blake2b
from typing import BinaryIO

from forebay.batch.errors import BatchInputError
from forebay.batch.lines import MARK_BYTES, BadLineError, Request, mark_of, parse_request

BOM = b"\xef\xbb\xbf"


class Roster:
    """The requests by their place in the file, from 0. Of each some hundred bytes are kept, whatever its size."""

    def __init__(self, file: BinaryIO, name: str, max_line_bytes: int) -> None:
        self._file = file
        self._name = name
        self._max_line_bytes = max_line_bytes
        self._offsets = array("Q")
        self._marks = bytearray()
        self._places: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._offsets)

    def read(self) -> None:
        """Read and check all lines, blank ones left out. Raises BatchInputError naming the first that is wrong."""
        model: tuple[str | None, int] | None = None
        numbers = array("Q")
        for number, offset, line in self._lines():
            try:
                request, named = parse_request(line)
            except BadLineError as error:
                raise BatchInputError(self._name, str(error), number) from error
            if model is None:
                model = named, number
            elif named != model[0]:
                words = f"model {_shown(named)}, but {_shown(model[0])} in line {model[1]}: a batch has one model"
                raise BatchInputError(self._name, words, number)
            place = self._places.setdefault(_key(request.custom_id), len(self))
            if place < len(self):
                words = f"custom_id {request.custom_id[:100]!r} is that of line {numbers[place]}, too"
                raise BatchInputError(self._name, words, number)
            numbers.append(number)
            self._offsets.append(offset)
            self._marks += mark_of(line)
        if not self._offsets:
            raise BatchInputError(self._name, "there is no request in it")

    def request(self, place: int) -> Request:
        """The request at a place, read anew. Raises BatchInputError where the file has been changed meanwhile."""
        self._file.seek(self._offsets[place])
        line = self._readline()
        if mark_of(line) != self.mark(place):
            raise BatchInputError(self._name, "it was changed while it was being asked")
        return parse_request(line)[0]

    def mark(self, place: int) -> bytes:
        """What tells the line at a place from any other."""
        return bytes(self._marks[place * MARK_BYTES : (place + 1) * MARK_BYTES])

    def place_of(self, custom_id: str) -> int | None:
        """Where the request with this id is."""
        return self._places.get(_key(custom_id))

    def _lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Number, from 1, offset and content of each line that is not blank."""
        offset, number = 0, 0
        self._file.seek(0)
        while line := self._readline():
            number += 1
            if len(line) > self._max_line_bytes:
                words = f"it is longer than {self._max_line_bytes} bytes (--max-line-bytes)"
                raise BatchInputError(self._name, words, number)
            begin, offset = offset, offset + len(line)
            if number == 1 and line.startswith(BOM):
                begin, line = begin + len(BOM), line[len(BOM) :]
            if line.strip():
                yield number, begin, line

    def _readline(self) -> bytes:
        try:
            return self._file.readline(self._max_line_bytes + 1)
        except OSError as error:
            raise BatchInputError(self._name, f"it cannot be read: {error.strerror}") from error


def _key(custom_id: str) -> bytes:
    return blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=MARK_BYTES).digest()


def _shown(model: str | None) -> str:
    return "none" if model is None else repr(model[:100])
