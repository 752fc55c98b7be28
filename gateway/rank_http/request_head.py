"""The head of a request to a rank. Pure."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from gateway.errors import InvalidRequestError
from gateway.headers import Headers
from gateway.rank_http.target import Target

TOKENS = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?::[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
"""Names joined by colons, which none of them may contain (RFC 9110 section 5.6.2)."""

NO_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""RFC 9110 section 5.5 keeps these bytes out of values."""

METHOD = re.compile(r"[A-Z]{1,20}")
LENGTH = re.compile(rb"[0-9]{1,18}")

OURS = frozenset({b"host", b"content-length", b"transfer-encoding"})
"""Written here, whatever was given."""

WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
"""RFC 9110 section 8.6: of these a length of 0 says nothing."""


def length_of(headers: Headers, body: bytes | AsyncIterator[bytes]) -> int | None:
    """How many bytes the body will have; None if only its end will tell. Raises InvalidRequestError."""
    if isinstance(body, bytes):
        return len(body)
    given = [value for name, value in headers if name.lower() == b"content-length"]
    if not given:
        return None
    if len(given) > 1 or not LENGTH.fullmatch(given[0]):
        raise InvalidRequestError("The request's length is none")
    return int(given[0])


def head_of(method: str, target: Target, headers: Headers, length: int | None) -> bytes:
    """The head, for a body of that length, or in chunks. Raises InvalidRequestError for what may not be sent."""
    passed = [header for header in headers if header[0].lower() not in OURS]
    names = b":".join([name for name, _ in passed])
    values = b"".join([value for _, value in passed])
    if not METHOD.fullmatch(method) or (passed and not TOKENS.fullmatch(names)) or NO_VALUE.search(values):
        raise InvalidRequestError("A header of the request is none that may be sent on")
    lines = [b"%b %b HTTP/1.1" % (method.encode(), target.path), b"host: " + target.authority]
    lines += [name + b": " + value for name, value in passed]
    if length is None:
        lines.append(b"transfer-encoding: chunked")
    elif length or method not in WITHOUT_BODY:
        lines.append(b"content-length: %d" % length)
    return b"\r\n".join(lines) + b"\r\n\r\n"
