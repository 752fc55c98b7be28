"""What the beginning of a stream says of how it will go on. Pure.

A rank whose KV does not arrive has sent a 200 already, and a chat's role: the error comes as the next event.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec import Raw

from gateway.edits import NULL

MAX_BYTES = 65_536
"""What a stream says before its first token is shorter; a longer beginning is no such one."""


class Opening(StrEnum):
    """What a stream has begun with."""

    SILENT = "silent"
    """Nothing yet, or only comments and a role."""

    ERROR = "error"
    """An error, and nothing before it."""

    GOOD = "good"
    """Something for the client."""


class _Delta(msgspec.Struct):
    role: Raw
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[Raw] = []
    error: Raw = NULL


EVENT_DECODER = msgspec.json.Decoder(_Event)
CHOICE_DECODER = msgspec.json.Decoder(_Choice)


def opening_of(events: bytes) -> Opening:
    """What these whole events, the first of a stream, are."""
    if len(events) > MAX_BYTES:
        return Opening.GOOD
    for line in events.splitlines():
        if line.startswith(b"data:") and (found := _opening_of_event(line[5:].strip())) is not Opening.SILENT:
            return found
    return Opening.SILENT


def _opening_of_event(data: bytes) -> Opening:
    try:
        event = EVENT_DECODER.decode(data)
        if bytes(event.error) != b"null":
            return Opening.ERROR
        choices = [CHOICE_DECODER.decode(choice) for choice in event.choices]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Opening.GOOD
    is_role = choices and not any(choice.delta.content or choice.finish_reason for choice in choices)
    return Opening.SILENT if is_role else Opening.GOOD
