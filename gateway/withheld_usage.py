"""Keeps from a client the usage of its stream that it has not asked for (asked_usage.py). Pure.

vLLM tells the usage of a stream in one more event before `[DONE]`, without choices. Where it does, it moves its
`system_fingerprint` to that event from the one in which an answer ends, so it is put back there: the client gets, byte
for byte, what it would have got without. The end of the last answer is held back until that event comes, which vLLM
writes at once. Answers of one stream that end before its last one keep no fingerprint: it is not known yet.

A rank that tells the usage in every event does so unasked (`--enable-force-include-usage`), so nothing is kept back.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from gateway import bounds, sse
from gateway.wire import NULL, Fields

TELLS = b'"prompt_tokens"'
ANSWER_END = re.compile(rb'"finish_reason": ?"')
EVENT_END = b"}\n\n"


class _Event(msgspec.Struct):
    choices: list[Raw] | None = None
    usage: Fields | None = None
    system_fingerprint: Raw = NULL


EVENT_DECODER = msgspec.json.Decoder(_Event)


class WithheldUsage:
    """Takes the usage out of one stream, of so many `answers` that end with a fingerprint."""

    def __init__(self, answers: int, *, is_over: bool = False) -> None:
        self._unended = answers
        self._is_over = is_over
        self._held = b""

    def concerns(self, events: bytes) -> bool:
        """Whether there may be something to take or to hold, so that these events must not pass without `take`; that
        the usage is in them the dialect tells.
        """
        return bool(self._held) or (self._unended > 0 and ANSWER_END.search(events) is not None)

    def take(self, events: bytes) -> bytes:
        """What the client gets of these whole events, and of what was held back before."""
        if self._is_over:
            return events
        if not (TELLS in events or self.concerns(events)):
            return events
        return b"".join(map(self._take_event, sse.events_of(events)))

    def release(self) -> bytes:
        """What is still held back when nothing more will come."""
        held, self._held = self._held, b""
        return held

    def _take_event(self, event: bytes) -> bytes:
        told = None if self._is_over else _told_in(event)
        if told is not None and told.choices is not None:
            self._is_over = True
            if not told.choices:
                return _stamped(self.release(), told.system_fingerprint)
        released = self.release()
        ends = len(ANSWER_END.findall(event))
        self._unended -= ends
        if ends and self._unended <= 0 and not self._is_over:
            self._held = event
            return released
        return released + event


def _told_in(event: bytes) -> _Event | None:
    """An event that tells the usage."""
    if TELLS not in event or (data := sse.data_of(event)) is None:
        return None
    if bounds.excess_of(data, bounds.EVENT) is not None:
        return None  # no usage is as large
    try:
        told = EVENT_DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if told.usage is None else told


def _stamped(event: bytes, fingerprint: Raw) -> bytes:
    """The end of an answer with the fingerprint, where vLLM has it; none where there is none."""
    if bytes(fingerprint) == b"null" or not event.endswith(EVENT_END):
        return event
    return event[: -len(EVENT_END)] + b',"system_fingerprint":' + bytes(fingerprint) + EVENT_END
