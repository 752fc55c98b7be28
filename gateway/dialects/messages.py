"""Answers of /v1/messages, Anthropic's API, as vLLM 0.32 gives them. Pure.

A stream is message_start, content blocks, message_delta with the stop reason and the usage, message_stop. vLLM makes
it of a chat's: an abort is a message that ends without a stop reason, `recomputed` is the stop sequence it ended at.
The usage counts what was cached apart from `input_tokens`, and only where the rank is to tell it.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from gateway import bounds
from gateway.dialects.dialect import Opening
from gateway.dialects.values import NULL, RECOMPUTED, aborted, given_up, object_of, raw_of
from gateway.usage import Tokens, Usage
from gateway.wire import Fields

LAST_EVENT = re.compile(rb"(?:\A|[\r\n])event: ?message_stop[\r\n]")
SILENT = frozenset((b'"message_start"', b'"ping"'))

CACHED = "cache_read_input_tokens"
CREATED = "cache_creation_input_tokens"


class _Stop(msgspec.Struct):
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Usage(msgspec.Struct):
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None

    @property
    def prompt_tokens(self) -> int:
        return self.input_tokens + (self.cache_read_input_tokens or 0) + (self.cache_creation_input_tokens or 0)


class _WithUsage(msgspec.Struct):
    usage: _Usage | None = None


STOP_DECODER = msgspec.json.Decoder(_Stop)
COUNTS_DECODER = msgspec.json.Decoder(_Usage)
USAGE_DECODER = msgspec.json.Decoder(_WithUsage)


class Messages:
    """See the module."""

    event_limits = bounds.EVENT
    max_event_bytes = 4_000_000
    opening_bytes = 65_536

    def tells(self, events: bytes) -> bool:
        """See Dialect: message_start, message_delta, message_stop."""
        return b':"message_' in events or b': "message_' in events

    def tells_edit(self, events: bytes) -> bool:
        """See Dialect."""
        return self.tells(events)

    def tells_whole(self, body: bytes) -> bool:
        """See Dialect."""
        return b'"usage"' in body

    def ends(self, events: bytes) -> bool:
        """See Dialect."""
        return b"message_stop" in events and LAST_EVENT.search(events) is not None

    def opening(self, event: Fields) -> Opening:
        """See Dialect."""
        kind = bytes(event.get("type", NULL))
        if kind == b'"error"' or bytes(event.get("error", NULL)) != b"null":
            return Opening.ERROR
        return Opening.SILENT if kind in SILENT else Opening.GOOD

    def judge(self, document: Fields, *, own_stop: bool, streamed: bool) -> None:
        """See Dialect."""
        stop = _stop_of(document, streamed=streamed)
        if stop is None:
            return
        if stop.stop_reason is None:
            raise aborted()
        if not own_stop and stop.stop_sequence == RECOMPUTED:
            raise given_up()

    def changes(self, document: Fields, cached_tokens: int) -> Fields:
        """See Dialect: in the usage of a message, of its start, and of its last delta."""
        if (changed := _counted_anew(document.get("usage"), cached_tokens)) is not None:
            return {"usage": changed}
        message = object_of(document.get("message"))
        changed = _counted_anew(message.get("usage"), cached_tokens)
        return {} if changed is None else {"message": raw_of(message | {"usage": changed})}

    def usage(self, document: bytes) -> Usage | None:
        """See Dialect."""
        try:
            counted = USAGE_DECODER.decode(document).usage
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return None if counted is None else Usage(counted.prompt_tokens, counted.output_tokens)


def _stop_of(document: Fields, *, streamed: bool) -> _Stop | None:
    """How a message has ended, as far as this says it; None of what is no end of one."""
    kind = bytes(document.get("type", NULL))
    try:
        if not streamed:
            return STOP_DECODER.decode(raw_of(document)) if kind == b'"message"' else None
        return STOP_DECODER.decode(document.get("delta", NULL)) if kind == b'"message_delta"' else None
    except msgspec.DecodeError:
        return None


def _counted_anew(usage: Raw | None, cached_tokens: int) -> Raw | None:
    """The usage with other cached tokens, and of as many in all; None where it does not tell them."""
    fields = object_of(usage)
    if CACHED not in fields:
        return None
    counts = COUNTS_DECODER.decode(raw_of(fields))
    created = counts.cache_creation_input_tokens or 0
    cached = min(cached_tokens, counts.prompt_tokens - created)
    left = counts.prompt_tokens - created - cached
    return raw_of(fields | {"input_tokens": raw_of(left), CACHED: raw_of(cached)})
