"""How an answer's body is framed (RFC 9112 section 6.3). Pure."""

from __future__ import annotations

import re
from typing import Protocol

from gateway.errors import RankFailedError
from gateway.headers import Headers
from gateway.rank_http.chunks import TOO_MUCH, Chunked
from gateway.rank_http.sink import Sink

LENGTH = re.compile(rb"[0-9]{1,18}")
WITHOUT_BODY = frozenset({204, 304})


class Body(Protocol):
    """One body, as it comes."""

    def feed(self, data: bytes, sink: Sink) -> bool:
        """Pass on what has come; True at the end. Raises RankFailedError for what is no such body or more."""

    def close(self) -> bool:
        """The connection has ended: whether the body is complete."""


class Sized:
    """A body of a known length."""

    def __init__(self, length: int) -> None:
        self._left = length

    def feed(self, data: bytes, sink: Sink) -> bool:
        """As `Body.feed`."""
        left = self._left - len(data)
        if left < 0:
            raise RankFailedError(TOO_MUCH)
        self._left = left
        if data:
            sink.take(data)
        return not left

    def close(self) -> bool:
        """As `Body.close`."""
        return not self._left


class UntilClose:
    """A body that ends with its connection."""

    def feed(self, data: bytes, sink: Sink) -> bool:
        """As `Body.feed`."""
        if data:
            sink.take(data)
        return False

    def close(self) -> bool:
        """As `Body.close`."""
        return True


def body_of(method: str, status: int, headers: Headers, *, is_http_1_0: bool) -> Body:
    """The body that follows a head. Raises RankFailedError where a head says two things, or one that is not known."""
    lengths = {value for name, value in headers if name.lower() == b"content-length"}
    codings = [value for name, value in headers if name.lower() == b"transfer-encoding"]
    if codings and (lengths or is_http_1_0):
        raise RankFailedError("The rank's answer has two lengths")
    if codings and [value.lower() for value in codings] != [b"chunked"]:
        raise RankFailedError("The rank's answer is in a coding that is not known")
    if len(lengths) > 1 or not all(map(LENGTH.fullmatch, lengths)):
        raise RankFailedError("The rank's answer has a length that is none")
    if method == "HEAD" or status in WITHOUT_BODY:
        return Sized(0)
    if codings:
        return Chunked()
    return Sized(int(lengths.pop())) if lengths else UntilClose()
