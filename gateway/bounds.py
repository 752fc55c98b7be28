"""How much a JSON document may hold, told before it is decoded: a client's body, or a rank's answer. Pure.

Bytes alone do not bound the work: 20 MB of `{},` are millions of objects, and decoding them holds the event loop for
seconds. A worker thread would not help, because the decoder keeps the interpreter's lock. So the JSON outside of its
strings is counted first, by a few passes of bytes' own methods; what may be decoded after that takes about a tenth of
a second, an answer up to half of one. Text does not count, however many quotes, commas and braces are in it.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.errors import InvalidRequestError, RankFailedError


class Limits(NamedTuple):
    """How many strings (keys included), containers (objects and arrays at any depth) and values a document may hold.

    `values` is all that commas part.
    """

    strings: int
    containers: int
    values: int

    @property
    def small_bytes(self) -> int:
        """A string, an object or an array takes two bytes at least, so up to here there is nothing to count."""
        return 2 * min(self)


REQUEST = Limits(strings=1 << 17, containers=1 << 17, values=1 << 20)
"""A message or a part has up to eight strings, so 16,000 messages fit; a list of prompts has one each. Most values are
numbers: as many token ids as the longest contexts in use have.
"""

ANSWER = Limits(strings=1 << 19, containers=1 << 18, values=1 << 20)
"""The largest answers have 20 log probabilities for each token. In a chat that is 43 containers, 85 strings and some
170 values a token, bytes included, so six thousand tokens fit; without them an answer has a few dozen in all.
"""

EVENT = Limits(strings=1 << 17, containers=1 << 16, values=1 << 18)
"""A few tokens of such an answer, or the ids of the prompt with the first one: twice as many as most contexts have."""

NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def check(raw: bytes) -> None:
    """Raise InvalidRequestError if a client's body holds more than may be decoded."""
    if (excess := excess_of(raw, REQUEST)) is not None:
        raise InvalidRequestError(f"The request's body holds {excess}")


def check_answer(raw: bytes, limits: Limits) -> None:
    """Raise RankFailedError if a document of a rank's answer holds more than these limits."""
    if (excess := excess_of(raw, limits)) is not None:
        raise RankFailedError(f"The rank's answer holds {excess}")


def excess_of(raw: bytes, limits: Limits) -> str | None:
    """What JSON holds too much of, as "more than 5 strings"; None if it is within the limits.

    What is no JSON passes as well: up to its first fault it is counted as JSON, and no decoder goes beyond.
    """
    if len(raw) <= limits.small_bytes:
        return None
    raw = _without_escapes(raw)
    if raw.count(b'"') > 2 * limits.strings:
        return f"more than {limits.strings} strings"
    if _containers(raw) <= limits.containers and raw.count(b",") < limits.values:
        return None  # the text counted in: what stands outside of it is less
    outside = _outside_strings(raw)
    if _containers(outside) > limits.containers:
        return f"more than {limits.containers} objects and arrays"
    return f"more than {limits.values} values" if outside.count(b",") >= limits.values else None


def _containers(raw: bytes) -> int:
    return raw.count(b"{") + raw.count(b"[")


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
