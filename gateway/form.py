"""Finds one field of a multipart/form-data body (RFC 7578) while its bytes come. Pure."""

from __future__ import annotations

import re

from gateway.errors import InvalidRequestError
from gateway.headers import Headers, first

MULTIPART = re.compile(rb"\s*multipart/form-data\s*;(?P<parameters>.*)", re.IGNORECASE | re.DOTALL)
BOUNDARY = re.compile(
    rb'(?:^|;)\s*boundary=(?:"(?P<quoted>[^"]{1,70})"|(?P<plain>[^\s;"]{1,70}))\s*(?:;|$)', re.IGNORECASE
)
NAME = re.compile(rb'^content-disposition:[^\r\n]*;\s*name=(?:"([^"\r\n]*)"|([^\s;"]+))', re.IGNORECASE | re.MULTILINE)

HEAD_END = b"\r\n\r\n"

MAX_PART_HEAD_BYTES = 8192
"""A field's head has a name, a file's name and a type."""


def boundary_of(headers: Headers) -> bytes:
    """What parts the fields. Raises InvalidRequestError unless the body is declared to be a form with files."""
    form = MULTIPART.fullmatch(first(headers, b"content-type") or b"")
    found = form and BOUNDARY.search(form["parameters"])
    if not found:
        raise InvalidRequestError("The request's body must be multipart/form-data, with its boundary in Content-Type")
    return found["quoted"] or found["plain"]


class FieldFinder:
    """Looks for a field's first value. Each byte is looked at once or twice, however the body is cut.

    `value` is what was found so far; `is_over`: there is nothing more to look for.
    """

    def __init__(self, boundary: bytes, field: str) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._field = field.encode()
        self._seen = bytearray(b"\r\n")  # the first delimiter may begin the body
        self._from = 0
        self._part_start: int | None = 0
        self._name = b""
        self.value: str | None = None
        self.is_over = False

    def feed(self, piece: bytes) -> None:
        """Look at a further piece of the body."""
        self._seen += piece
        while not self.is_over and (self._read_content() if self._part_start is not None else self._read_head()):
            pass

    def _read_content(self) -> bool:
        """Whether the part's end has come."""
        end = self._find(self._delimiter)
        if end < 0:
            return False
        if self._name == self._field:
            self.value = self._seen[self._part_start : end].decode(errors="replace")
            self.is_over = True
        self._part_start = None
        self._from = end + len(self._delimiter)
        return True

    def _read_head(self) -> bool:
        """Whether the next part's head has come."""
        start = self._from
        end = self._seen.find(HEAD_END, start)
        self.is_over = self._seen.startswith(b"--", start)
        if end < 0:
            self.is_over = self.is_over or len(self._seen) - start > MAX_PART_HEAD_BYTES
            return False
        name = NAME.search(self._seen, start, end)
        self._name = bytes(name[1] or name[2] or b"") if name else b""
        self._from = self._part_start = end + len(HEAD_END)
        return True

    def _find(self, what: bytes) -> int:
        found = self._seen.find(what, self._from)
        if found < 0:
            self._from = max(self._from, len(self._seen) - len(what) + 1)
        return found
