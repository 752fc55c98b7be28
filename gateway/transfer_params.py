"""Keeps from clients what steers ranks' connections: each such object of an answer, at any depth, becomes null. Pure.

The same for what clients send on routes of which it is not known in detail what a rank reads.

Params are looked for among the decoded keys, so that an escaped spelling ("kv\\u005ftransfer_params") counts too. What
may have them and cannot be decoded is not shown at all.
"""

from __future__ import annotations

import re

import msgspec

from gateway.errors import InvalidRequestError, RankFailedError
from gateway.wire import FORBIDDEN

KEY_END = b'_transfer_params"'
KEY = re.compile(rb'(?:kv|ec)_transfer_params"(?![ \t]*:[ \t]*null)')
"""In a text the quote is escaped, so this is a key, or a text that ends in its name."""

ESCAPE = b"\\u00"
ESCAPED = re.compile(rb"\\u00[5-7]")
"""All of a key's characters are in that range, and no encoder in use escapes them."""


def may_hold_params(document: bytes) -> bool:
    """Whether it is worth decoding; most answers and nearly all events are not."""
    return (KEY_END in document and KEY.search(document) is not None) or (
        ESCAPE in document and ESCAPED.search(document) is not None
    )


def without_params(document: bytes) -> bytes:
    """A JSON document that may hold params, without them. Raises RankFailedError if it cannot be decoded."""
    try:
        return _written_anew(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RankFailedError("The rank's answer may hold transfer params and cannot be decoded") from error


def of_client(body: bytes) -> bytes:
    """A client's body as a rank may have it; itself, unless it may hold params.

    Raises InvalidRequestError if it may and cannot be decoded.
    """
    if not may_hold_params(body):
        return body
    try:
        return _written_anew(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError("The request's body may hold transfer params and cannot be decoded") from error


def _written_anew(document: bytes) -> bytes:
    decoded = msgspec.json.decode(document)
    _clear(decoded)
    # Also if none was found: of a key that stands there twice only the last one was decoded.
    return msgspec.json.encode(decoded)


def _clear(document: object) -> None:
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            value.update(dict.fromkeys(value.keys() & FORBIDDEN))
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
