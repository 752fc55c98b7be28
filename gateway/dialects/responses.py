"""Answers of /v1/responses, OpenAI's Responses API, as vLLM 0.32 gives them. Pure.

A stream is response.created, response.in_progress, items and their deltas, response.completed with the whole response.
A vLLM whose engine fails in a stream breaks it off. Of an aborted request it says status "completed", or "cancelled"
for gpt-oss; one that has no output token was aborted in any case, for the end of a text is a token too. That a request
was `recomputed` it does not say.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from gateway import bounds
from gateway.dialects.dialect import Opening
from gateway.dialects.values import NULL, aborted, object_of, raw_of
from gateway.usage import Tokens, Usage
from gateway.wire import Fields

LAST_EVENT = re.compile(rb"(?:\A|[\r\n])event: ?response\.(?:completed|incomplete|failed)[\r\n]")
SILENT = frozenset((b'"response.created"', b'"response.queued"', b'"response.in_progress"'))
ERRORS = frozenset((b'"error"', b'"response.failed"'))
ANSWERED = frozenset(("completed", "cancelled"))


class _Usage(msgspec.Struct):
    input_tokens: Tokens
    output_tokens: Tokens = 0


class _Response(msgspec.Struct):
    status: str | None = None
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    response: _Response | None = None
    usage: _Usage | None = None


RESPONSE_DECODER = msgspec.json.Decoder(_Response)
EVENT_DECODER = msgspec.json.Decoder(_Event)
TURNS_DECODER = msgspec.json.Decoder(list[int])


class Responses:
    """See the module."""

    event_limits = bounds.ANSWER
    max_event_bytes = 16_000_000
    """The last event has the whole answer."""
    opening_bytes = 1_000_000
    """The first two repeat the request's instructions and tools."""

    def tells(self, events: bytes) -> bool:
        """See Dialect: the first two events and the last have a response."""
        return b'"response":' in events

    def tells_edit(self, events: bytes) -> bool:
        """See Dialect."""
        return self.tells(events)

    def tells_whole(self, body: bytes) -> bool:
        """See Dialect."""
        return b'"usage"' in body

    def ends(self, events: bytes) -> bool:
        """See Dialect."""
        return b"event:" in events and LAST_EVENT.search(events) is not None

    def opening(self, event: Fields) -> Opening:
        """See Dialect."""
        kind = bytes(event.get("type", NULL))
        if kind in ERRORS or bytes(event.get("error", NULL)) != b"null":
            return Opening.ERROR
        return Opening.SILENT if kind in SILENT else Opening.GOOD

    def judge(self, document: Fields, *, own_stop: bool, streamed: bool) -> None:
        """See Dialect."""
        del own_stop  # it does not show
        try:
            response = RESPONSE_DECODER.decode(document.get("response", NULL) if streamed else raw_of(document))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if response.usage is None or response.status not in ANSWERED:
            return  # it has not ended yet, or well: "incomplete" is one that has come to its limit
        if response.status == "cancelled" or response.usage.output_tokens == 0:
            raise aborted()

    def changes(self, document: Fields, cached_tokens: int) -> Fields:
        """See Dialect: in the usage of a response, or of an event's."""
        if (changed := _counted_anew(document.get("usage"), cached_tokens)) is not None:
            return {"usage": changed}
        response = object_of(document.get("response"))
        changed = _counted_anew(response.get("usage"), cached_tokens)
        return {} if changed is None else {"response": raw_of(response | {"usage": changed})}

    def usage(self, document: bytes) -> Usage | None:
        """See Dialect."""
        try:
            event = EVENT_DECODER.decode(document)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        counted = event.response.usage if event.response else event.usage
        return None if counted is None else Usage(counted.input_tokens, counted.output_tokens)


def _counted_anew(usage: Raw | None, cached_tokens: int) -> Raw | None:
    """The usage with other cached tokens, those of the first turn too; None where it does not tell them."""
    fields = object_of(usage)
    details = object_of(fields.get("input_tokens_details"))
    if "cached_tokens" not in details:
        return None
    told = {"cached_tokens": raw_of(cached_tokens)}
    turns = TURNS_DECODER.decode(details.get("cached_tokens_per_turn", Raw(b"[]")))
    if len(turns) == 1:
        told["cached_tokens_per_turn"] = raw_of([cached_tokens])
    return raw_of(fields | {"input_tokens_details": raw_of(details | told)})
