"""Answers with choices: of completions, chat, /inference/v1/generate, and of all APIs not known in detail. Pure.

Streams end with `[DONE]`. An answer ends with finish_reason "abort" where the rank aborted it, with "stop" and
stop_reason "recomputed" where it gave it up.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from gateway import bounds, sse, usage
from gateway.dialects.dialect import Opening
from gateway.dialects.values import NULL, RECOMPUTED, aborted, given_up, object_of, raw_of
from gateway.usage import Usage
from gateway.wire import Fields

ABORTED = "abort"
EMPTY = frozenset((b"null", b'""', b"[]", b"{}"))


class _Choice(msgspec.Struct):
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    text: str | None = None
    delta: dict[str, Raw] | None = None
    token_ids: list[int] | None = None


class _Begun(msgspec.Struct):
    finish_reason: Raw = NULL
    text: Raw = NULL
    token_ids: Raw = NULL
    delta: dict[str, Raw] | None = None


CHOICES_DECODER = msgspec.json.Decoder(list[_Choice])
BEGUN_DECODER = msgspec.json.Decoder(list[_Begun] | None)


class Choices:
    """See the module."""

    event_limits = bounds.EVENT
    max_event_bytes = 4_000_000
    """An event holds a few tokens; with all their log probabilities some ten thousand bytes. The first one may bring
    the ids of the prompt, eight bytes each."""
    opening_bytes = 65_536

    def tells(self, events: bytes) -> bool:
        """See Dialect. Written out: this is asked of every event. `cached_tokens` stand in a usage."""
        return sse.DONE in events or b'"abort"' in events or b'"prompt_tokens"' in events or b'"recomputed"' in events

    def tells_edit(self, events: bytes) -> bool:
        """See Dialect."""
        return b'"abort"' in events or b'"cached_tokens"' in events or b'"recomputed"' in events

    def tells_whole(self, body: bytes) -> bool:
        """See Dialect."""
        return self.tells_edit(body)

    def ends(self, events: bytes) -> bool:
        """See Dialect."""
        return sse.DONE in events and sse.says_done(events)

    def opening(self, event: Fields) -> Opening:
        """See Dialect. Raises msgspec.DecodeError."""
        if bytes(event.get("error", NULL)) != b"null":
            return Opening.ERROR
        if bytes(event.get("type", NULL)) != b"null":
            return Opening.GOOD  # of an API whose events have types instead of choices, as Cohere's
        choices = BEGUN_DECODER.decode(event.get("choices", NULL))
        return Opening.GOOD if any(map(_has_begun, choices or ())) else Opening.SILENT

    def judge(self, document: Fields, *, own_stop: bool, streamed: bool) -> None:
        """See Dialect."""
        choices = _choices(document)
        if any(choice.finish_reason == ABORTED for choice in choices):
            raise aborted()
        if not own_stop and any(_is_given_up(choice, streamed=streamed) for choice in choices):
            raise given_up()

    def changes(self, document: Fields, cached_tokens: int) -> Fields:
        """See Dialect: in `usage.prompt_tokens_details`, where a rank tells them."""
        counts = object_of(document.get("usage"))
        details = object_of(counts.get("prompt_tokens_details"))
        if "cached_tokens" not in details:
            return {}
        told = raw_of(details | {"cached_tokens": raw_of(cached_tokens)})
        return {"usage": raw_of(counts | {"prompt_tokens_details": told})}

    def usage(self, document: bytes) -> Usage | None:
        """See Dialect."""
        return usage.of_body(document)


def _has_begun(choice: _Begun) -> bool:
    said = [value for name, value in (choice.delta or {}).items() if name != "role"]
    return any(bytes(value) not in EMPTY for value in (choice.finish_reason, choice.text, choice.token_ids, *said))


def _choices(document: Fields) -> list[_Choice]:
    """None where one of them is odd."""
    try:
        return CHOICES_DECODER.decode(document.get("choices", Raw(b"[]")))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def _is_given_up(choice: _Choice, *, streamed: bool) -> bool:
    """Where streamed text or tokens come along it is the model's own stop."""
    return (
        choice.finish_reason == "stop"
        and choice.stop_reason == RECOMPUTED
        and not (streamed and (_says_something(choice) or choice.token_ids))
    )


def _says_something(choice: _Choice) -> bool:
    return bool(choice.text) or bytes((choice.delta or {}).get("content", NULL)) not in (b"null", b'""')
