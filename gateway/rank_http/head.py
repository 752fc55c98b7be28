"""The heads of a rank's answers, interim ones included. Pure."""

from __future__ import annotations

import httptools
import msgspec

from gateway.errors import RankFailedError
from gateway.headers import BLANKS, MAX_HEAD_BYTES, MAX_HEADERS, Headers

MAX_INTERIM = 16
"""Heads before the one that answers (RFC 9110 section 15.2); engines send none."""

FINAL_STATUSES = range(200, 600)
"""uvicorn knows no others."""

SWITCHING = 101
"""An answer where the change was asked for, and otherwise a fault."""

VERSIONS = frozenset({"1.0", "1.1"})

CONTROLS = bytes({*range(32), 127} - {*b"\t\r\n"})
"""RFC 9110 section 5.5 keeps them out of values."""

NO_HEAD = "The rank answered with a head that is not HTTP"
NO_HEADER = "The rank answered with a header that HTTP does not allow"
TOO_LARGE = f"The rank's head is larger than {MAX_HEAD_BYTES} bytes or has more than {MAX_HEADERS} headers"


class Head(msgspec.Struct, frozen=True):
    """An answer's head; names as they came, values without blanks around them."""

    status: int
    headers: Headers
    is_http_1_0: bool
    keeps_alive: bool


class HeadReader:
    """Reads up to the head that answers. `rest` is what came behind it; the protocol that is in it `may_switch`."""

    def __init__(self, *, may_switch: bool = False) -> None:
        self._may_switch = may_switch
        self._held = b""
        self._interim = 0
        self.rest = b""

    def feed(self, data: bytes) -> Head | None:
        """The head, once it is whole. Raises RankFailedError."""
        data = self._held + data
        while (end := data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)) >= 0:
            head = _read(data[: end + 4], may_switch=self._may_switch)
            data = data[end + 4 :]
            if head.status >= FINAL_STATUSES.start or head.status == SWITCHING:
                self.rest = data
                return head
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise RankFailedError(f"The rank announced its answer more than {MAX_INTERIM} times")
        if len(data) >= MAX_HEAD_BYTES:
            raise RankFailedError(TOO_LARGE)
        _check_lines(data.removesuffix(b"\r"))
        self._held = data
        return None


class _Fields:
    """What the parser finds in a head."""

    def __init__(self) -> None:
        self.headers: Headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value.strip(BLANKS)))


def _read(raw: bytes, *, may_switch: bool) -> Head:
    _check_lines(raw)
    fields = _Fields()
    parser = httptools.HttpResponseParser(fields)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade as error:
        if not may_switch:
            raise RankFailedError("The rank changed the protocol") from error
    except httptools.HttpParserError as error:
        raise RankFailedError(NO_HEAD) from error
    status = parser.get_status_code()
    if len(fields.headers) > MAX_HEADERS:
        raise RankFailedError(TOO_LARGE)
    if (status == SWITCHING and not may_switch) or not 100 <= status < FINAL_STATUSES.stop:
        raise RankFailedError(f"The rank answered with status {status}")
    version = parser.get_http_version()
    if version not in VERSIONS or (status == SWITCHING and version == "1.0"):
        raise RankFailedError(NO_HEAD)
    closes = any(
        token.strip(BLANKS).lower() == b"close"
        for name, value in fields.headers
        if name.lower() == b"connection"
        for token in value.split(b",")
    )
    return Head(status, fields.headers, is_http_1_0=version == "1.0", keeps_alive=version == "1.1" and not closes)


def _check_lines(raw: bytes) -> None:
    """Raise RankFailedError for what parsers are known to read differently: half line ends, folded lines, controls."""
    if not raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n") or b"\r\n " in raw or b"\r\n\t" in raw:
        raise RankFailedError(NO_HEADER)
    if len(raw.translate(None, CONTROLS)) != len(raw):
        raise RankFailedError(NO_HEADER)
