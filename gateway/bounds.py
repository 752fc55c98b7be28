"""How much a request's body may hold, told before it is decoded. Pure.

Bytes alone do not bound the work: 20 MB of `{},` are millions of objects, and decoding them holds the event loop for
seconds. A worker thread would not help, because the decoder keeps the interpreter's lock. So the JSON outside of its
strings is counted first, by a few passes of bytes' own methods; what may be decoded after that takes about a tenth of
a second. Text does not count, however many quotes, commas and braces are in it.
"""

from __future__ import annotations

from gateway.errors import InvalidRequestError

MAX_STRINGS = 1 << 17
"""Keys included. A message or a part has up to eight, so 16,000 messages fit; a list of prompts has one each."""

MAX_CONTAINERS = 1 << 17
"""Objects and arrays, at any depth: messages, parts, tool calls, lists of token ids."""

MAX_VALUES = 1 << 20
"""All that commas part. Most are numbers: as many token ids as the longest contexts in use have."""

SMALL_BYTES = 2 * min(MAX_STRINGS, MAX_CONTAINERS)
"""A string, an object or an array takes two bytes at least, so up to here there is nothing to count."""


def check(raw: bytes) -> None:
    """Raise InvalidRequestError if a body holds more than may be decoded.

    What is no JSON passes as well: up to its first fault it is counted as JSON, and no decoder goes beyond.
    """
    if len(raw) <= SMALL_BYTES:
        return
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    if raw.count(b'"') > 2 * MAX_STRINGS:
        raise _too_many("strings", MAX_STRINGS)
    outside = b"".join(raw.split(b'"')[::2])
    if outside.count(b"{") + outside.count(b"[") > MAX_CONTAINERS:
        raise _too_many("objects and arrays", MAX_CONTAINERS)
    if outside.count(b",") >= MAX_VALUES:
        raise _too_many("values", MAX_VALUES)


def _too_many(what: str, limit: int) -> InvalidRequestError:
    return InvalidRequestError(f"The request's body holds more than {limit} {what}")
