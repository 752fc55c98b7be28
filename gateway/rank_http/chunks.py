"""The chunked coding (RFC 9112 section 7.1), read as it comes and passed on as it came. Pure.

Whole chunks pass with their framing, in one piece however many they are, so that nothing has to be framed anew for a
client. A chunk is held back only until its rest is there, and a large one not at all. What HTTP does not allow is
refused, and so is what parsers are known to read differently: a second reading of the same bytes is how requests are
smuggled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from gateway.errors import RankFailedError
from gateway.rank_http.sink import Sink

HELD_BYTES = 65_536
"""Up to this size a chunk is passed on whole; a larger one in parts."""

MAX_LINE_BYTES = 1_024
"""A size and its extensions. Engines send no extensions."""

MAX_TRAILER_BYTES = 8_192
"""All trailers together; they are dropped."""

SIZES: Mapping[bytes, int] = MappingProxyType({b"%x" % size: size for size in range(1, 4096)})
"""The sizes of nearly all chunks of a stream, as they are written: a look-up costs less than to read them."""

MAX_SIZE_BYTES = 18
"""Sixteen digits, and the end of the line."""

PLAIN_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})((?:;" + TOKEN + rb"(?:=(?:" + TOKEN + rb'|"[\t !#-\[\]-~]*"))?)*)',
)
"""RFC 9112 section 7.1.1, without blanks and escapes."""

SIZE_BEGINNING = re.compile(rb"[0-9A-Fa-f]{1,16}(?:;[\t -~]*)?\r?")
TRAILER = re.compile(TOKEN + rb":[\t -~\x80-\xff]*")
FRAMING_TRAILER = re.compile(
    rb"(?:content-length|transfer-encoding|connection|upgrade|proxy-connection):", re.IGNORECASE
)
HALF_LINE_END = re.compile(rb"\r(?!\n|\Z)|(?<!\r)\n")

NO_CHUNK = "The rank's chunks are none that HTTP allows"
TOO_MUCH = "The rank sent more than its answer"


def whole_bytes(data: bytes) -> int:
    """How many bytes at the beginning are whole regular chunks; the last chunk is none."""
    at = 0
    while (line_end := data.find(b"\r\n", at, at + MAX_SIZE_BYTES)) > 0:
        line = data[at:line_end]
        size = SIZES.get(line) or _plain_size(line)
        end = line_end + size + 4
        if not size or data[end - 2 : end] != b"\r\n":
            break
        at = end
    return at


def payload_of(chunks: bytes) -> bytes:
    """The payload of whole regular chunks, as `Sink.take_chunks` gets them."""
    parts: list[bytes] = []
    at = 0
    while at < len(chunks):
        line_end = chunks.index(b"\r\n", at)
        begin = line_end + 2
        line = chunks[at:line_end]
        at = begin + (SIZES.get(line) or int(line, 16)) + 2
        parts.append(chunks[begin : at - 2])
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _plain_size(line: bytes) -> int:
    """The size a line says; 0 if it says more than a size, or none."""
    return int(line, 16) if PLAIN_SIZE.fullmatch(line) else 0


class Chunked:
    """A body in chunks."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._needed = 0
        self._left = 0
        self._is_in_part = False
        self._is_in_trailers = False
        self._is_complete = False

    @property
    def is_between(self) -> bool:
        """Whether the next byte is the first of a chunk."""
        return not (self._held or self._is_in_part or self._is_in_trailers)

    def feed(self, data: bytes, sink: Sink) -> bool:
        """Pass on what has come; True at the end. Raises RankFailedError for what is no such body or more."""
        if self.is_between and 0 < whole_bytes(data) == len(data):
            sink.take_chunks(data)
            return False
        return self._feed_rest(data, sink)

    def close(self) -> bool:
        """The connection has ended: whether the body is complete."""
        return self._is_complete

    def _feed_rest(self, data: bytes, sink: Sink) -> bool:
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return False
            data = bytes(self._held)
            self._held.clear()
        while data and not self._is_complete:
            if self._is_in_part:
                data = self._feed_part(data, sink)
            elif self._is_in_trailers:
                data = self._feed_trailers(data)
            elif whole := whole_bytes(data):
                sink.take_chunks(data[:whole])
                data = data[whole:]
            else:
                data = self._begin_chunk(data)
        if data:
            raise RankFailedError(TOO_MUCH)
        return self._is_complete

    def _begin_chunk(self, data: bytes) -> bytes:
        """Read the size of a chunk that cannot be passed on as it is, or not yet."""
        line_end = data.find(b"\r\n", 0, MAX_LINE_BYTES)
        if line_end < 0:
            if len(data) >= MAX_LINE_BYTES or not SIZE_BEGINNING.fullmatch(data):
                raise RankFailedError(NO_CHUNK)
            return self._hold(data, len(data) + 1)
        found = SIZE_LINE.fullmatch(data, 0, line_end)
        if found is None:
            raise RankFailedError(NO_CHUNK)
        size = int(found[1], 16)
        if not size:
            self._is_in_trailers = True
            # The end of this line is the beginning of the empty one if there are no trailers.
            return data[line_end:]
        end = line_end + size + 4
        if not found[2] and size <= HELD_BYTES and len(data) < end:
            return self._hold(data, end)
        self._is_in_part = True
        self._left = size
        return data[line_end + 2 :]

    def _feed_part(self, data: bytes, sink: Sink) -> bytes:
        """Pass on payload; at its end the chunk's."""
        if self._left:
            part = data[: self._left]
            self._left -= len(part)
            sink.take(part)
            return data[len(part) :]
        if not data.startswith(b"\r\n"):
            if data != b"\r":
                raise RankFailedError(NO_CHUNK)
            return self._hold(data, 2)
        self._is_in_part = False
        return data[2:]

    def _feed_trailers(self, data: bytes) -> bytes:
        """Drop the trailers; `data` begins with the end of the line before them."""
        end = data.find(b"\r\n\r\n", 0, MAX_TRAILER_BYTES)
        if end < 0:
            if len(data) >= MAX_TRAILER_BYTES:
                raise RankFailedError(f"The rank's trailers are larger than {MAX_TRAILER_BYTES} bytes")
            if HALF_LINE_END.search(data):
                raise RankFailedError(NO_CHUNK)
            return self._hold(data, len(data) + 1)
        for line in data[2:end].split(b"\r\n") if end else ():
            if not TRAILER.fullmatch(line) or FRAMING_TRAILER.match(line):
                raise RankFailedError(NO_CHUNK)
        self._is_complete = True
        return data[end + 4 :]

    def _hold(self, data: bytes, needed: int) -> bytes:
        """Keep this until so many bytes are there."""
        self._held += data
        self._needed = needed
        return b""
