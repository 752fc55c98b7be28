"""How much JSON from outside may hold, a request's body or a rank's answer, told before it is decoded. Pure.

Bytes alone do not bound the work: 20 MB of `{},` are millions of objects, and decoding them holds the event loop for
seconds. A worker thread would not help, because the decoder keeps the interpreter's lock. So the JSON outside of its
strings is counted first, by a few passes of bytes' own methods; what may be decoded after that takes about a tenth of
a second. Text does not count, however many quotes, commas and braces are in it.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.errors import InvalidRequestError

MAX_STRINGS = 1 << 17
"""Keys included. A message or a part has up to eight, so 16,000 messages fit; a list of prompts has one each."""

MAX_CONTAINERS = 1 << 17
"""Objects and arrays, at any depth: messages, parts, tool calls, lists of token ids."""

MAX_VALUES = 1 << 20
"""All that commas part. Most are numbers: as many token ids as the longest contexts in use have."""

SMALL_BYTES = 2 * min(MAX_STRINGS, MAX_CONTAINERS)
"""A string, an object or an array takes two bytes at least, so up to here there is nothing to count."""

NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Bounds(NamedTuple):
    """How many strings, objects and arrays, and values JSON may hold."""

    strings: int
    containers: int
    values: int


BODY = Bounds(MAX_STRINGS, MAX_CONTAINERS, MAX_VALUES)


def check(raw: bytes) -> None:
    """Raise InvalidRequestError if a body holds more than may be decoded."""
    if (excess := excess_of(raw, BODY)) is not None:
        raise InvalidRequestError(f"The request's body holds {excess}")


def excess_of(raw: bytes, bounds: Bounds) -> str | None:
    """What JSON holds too much of, as "more than 5 strings"; None if it is within the bounds.

    What is no JSON passes as well: up to its first fault it is counted as JSON, and no decoder goes beyond.
    """
    if len(raw) <= 2 * min(bounds):
        return None
    raw = _without_escapes(raw)
    if raw.count(b'"') > 2 * bounds.strings:
        return f"more than {bounds.strings} strings"
    outside = _outside_strings(raw)
    if outside.count(b"{") + outside.count(b"[") > bounds.containers:
        return f"more than {bounds.containers} objects and arrays"
    if outside.count(b",") >= bounds.values:
        return f"more than {bounds.values} values"
    return None


def depth_of(raw: bytes) -> int:
    """How deep objects and arrays are nested in JSON; takes a step for each of them."""
    deepest = depth = 0
    for bracket in _outside_strings(_without_escapes(raw)).translate(None, NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _without_escapes(raw: bytes) -> bytes:
    return raw.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in raw else raw


def _outside_strings(raw: bytes) -> bytes:
    return b"".join(raw.split(b'"')[::2])
