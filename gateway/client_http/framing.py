"""Which requests are refused for the version or the coding they name.

The parser takes more of both than anybody here knows, and guesses where such a message ends.
"""

from __future__ import annotations

from gateway.errors import InvalidRequestError
from gateway.headers import BLANKS, Headers

KNOWN_VERSIONS = ("1.0", "1.1")


def fault_of(version: str, headers: Headers) -> InvalidRequestError | None:
    """What is wrong with a head, its names in lower case; `chunked` is the one coding (RFC 9112 section 6.1)."""
    if version not in KNOWN_VERSIONS:
        return InvalidRequestError(f"HTTP/{version} is not served, only HTTP/1.0 and HTTP/1.1")
    codings = [value.strip(BLANKS).lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and codings != [b"chunked"]:
        return InvalidRequestError("Only `Transfer-Encoding: chunked` is understood")
    return None
