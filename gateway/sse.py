"""How a stream of server-sent events is cut into events, and what data one has (HTML standard, section 9.2.6). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

EVENT_END = re.compile(rb"(?>\r\n|\n|\r){2}")
DATA = b"data:"
DONE = b"[DONE]"
"""The data of an OpenAI stream's last event."""


def events_of(stream: bytes) -> Iterator[bytes]:
    """The events of a part of a stream, ends included, the last one perhaps without."""
    start = 0
    for end in EVENT_END.finditer(stream):
        yield stream[start : end.end()]
        start = end.end()
    if start < len(stream):
        yield stream[start:]


def data_of(event: bytes) -> bytes | None:
    """An event's data, of which each line may hold a part; None if it has none, as a comment."""
    lines = [line[len(DATA) :] for line in event.splitlines() if line.startswith(DATA)]
    return b"\n".join(lines).strip() if lines else None


def says_done(events: bytes) -> bool:
    """Whether one of these whole events is an OpenAI stream's last."""
    return any(data_of(event) == DONE for event in events_of(events))


def with_data(event: bytes, data: bytes) -> bytes:
    """The event with other data, on one line in place of its first; `data` is without line ends."""
    kept: list[bytes] = []
    is_first = True
    for line in event.splitlines(keepends=True):
        if not line.startswith(DATA):
            kept.append(line)
        elif is_first:
            is_first = False
            kept.append(DATA + b" " + data + line[len(line.rstrip(b"\r\n")) :])
    return b"".join(kept)


def other_lines(event: bytes) -> bytes:
    """What an event has beside its data."""
    return b"\n".join(line for line in event.splitlines() if not line.startswith(DATA))
