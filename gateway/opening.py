"""What the beginning of a stream says of how it will go on, and whether a whole answer is an error, or none. Pure.

A rank whose KV does not arrive has sent a 200 already, and a chat's role: the error comes as the next event. A vLLM
that is told to stop ends the stream of a completion that has no token yet with `[DONE]` and nothing else.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from gateway import bounds, sse
from gateway.dialects.dialect import Dialect, Opening
from gateway.dialects.values import NULL
from gateway.wire import Fields


class _Answer(msgspec.Struct):
    error: Raw = NULL


ANSWER_DECODER = msgspec.json.Decoder(_Answer)
EVENT_DECODER = msgspec.json.Decoder(Fields | None)
RAW_DECODER = msgspec.json.Decoder(Raw)

JSON = b"application/json"
NO_NUMBER = re.compile(rb"NaN|Infinity")
WHOLE = frozenset((b"{}", b"[]", b'""'))
LOOKED_THROUGH_BYTES = 1_000_000
"""A millisecond or two. What is broken off shows at its end."""


def opening_of(events: bytes, dialect: Dialect) -> Opening:
    """What these whole events are, where nothing but silence came before them."""
    for event in sse.events_of(events):
        data = sse.data_of(event)
        if data and (found := _opening_of_data(data, dialect)) is not Opening.SILENT:
            return found
    return Opening.SILENT


def is_error(body: bytes) -> bool:
    """Whether a whole answer is an error, whatever its status says."""
    if b'"error"' not in body:
        return False
    try:
        return bytes(ANSWER_DECODER.decode(body).error).startswith(b"{")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def is_none(body: bytes, content_type: bytes) -> bool:
    """Whether the body of a 200 is no answer: no JSON, or not all of it, where it says that it is some; nothing at all
    where it does not say what it is.
    """
    return not _is_json(body) if content_type.startswith(JSON) else not (body or content_type)


def _is_json(body: bytes) -> bool:
    """Engines write NaN and Infinity, which Python's JSON has; of what holds such a word, or is large, the ends are
    looked at.
    """
    if len(body) <= LOOKED_THROUGH_BYTES and not NO_NUMBER.search(body):
        try:
            RAW_DECODER.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        except RecursionError:
            return True
    stripped = body.strip()
    return stripped[:1] + stripped[-1:] in WHOLE


def _opening_of_data(data: bytes, dialect: Dialect) -> Opening:
    if data == sse.DONE:
        return Opening.ENDED
    if bounds.excess_of(data, dialect.event_limits) is not None:
        return Opening.GOOD  # to decode it would take seconds; no error is as large
    try:
        event = EVENT_DECODER.decode(data)
        return Opening.SILENT if event is None else dialect.opening(event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Opening.GOOD if _is_json(data) else Opening.ERROR
