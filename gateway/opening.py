"""What the beginning of a stream says of how it will go on, and whether a whole answer is an error. Pure.

A rank whose KV does not arrive has sent a 200 already, and a chat's role: the error comes as the next event. A vLLM
that is told to stop ends the stream of a completion that has no token yet with `[DONE]` and nothing else.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec import Raw

from gateway import sse
from gateway.edits import NULL

MAX_BYTES = 65_536
"""What a stream says before its first token is shorter; a longer beginning counts as begun and is held back no more."""


class Opening(StrEnum):
    """What a stream has begun with."""

    SILENT = "silent"
    """Nothing yet, or only comments and events without a token: a role, an empty text, a usage."""

    ERROR = "error"
    """An error, and nothing before it."""

    ENDED = "ended"
    """The stream's end, and nothing before it."""

    GOOD = "good"
    """Something for the client."""


class _Choice(msgspec.Struct):
    finish_reason: Raw = NULL
    text: Raw = NULL
    token_ids: Raw = NULL
    delta: dict[str, Raw] | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] | None = None
    type: Raw = NULL
    error: Raw = NULL


class _Answer(msgspec.Struct):
    error: Raw = NULL


ANSWER_DECODER = msgspec.json.Decoder(_Answer)
EVENT_DECODER = msgspec.json.Decoder(_Event | None)
EMPTY = frozenset((b"null", b'""', b"[]", b"{}"))


def opening_of(events: bytes) -> Opening:
    """What these whole events are, where nothing but silence came before them."""
    for event in sse.events_of(events):
        data = sse.data_of(event)
        if data and (found := _opening_of_data(data)) is not Opening.SILENT:
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


def _opening_of_data(data: bytes) -> Opening:
    if data == sse.DONE:
        return Opening.ENDED
    try:
        event = EVENT_DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Opening.GOOD
    if event is None:
        return Opening.SILENT
    if bytes(event.error) != b"null":
        return Opening.ERROR
    if bytes(event.type) != b"null":
        return Opening.GOOD  # of an API whose events have types instead of choices: Cohere's, Anthropic's, Responses
    return Opening.GOOD if any(map(_says_something, event.choices or ())) else Opening.SILENT


def _says_something(choice: _Choice) -> bool:
    said = [value for name, value in (choice.delta or {}).items() if name != "role"]
    return any(bytes(value) not in EMPTY for value in (choice.finish_reason, choice.text, choice.token_ids, *said))
