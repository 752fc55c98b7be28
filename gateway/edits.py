"""What a client is not shown of a decode rank's answer, or is shown otherwise. Pure.

- What steers ranks' connections becomes null (`transfer_params.py`).
- To a decode rank the whole prompt was cached; how much really was, the prefill rank knows.
- An answer that ends with vllm-ascend's `recomputed` is none: the rank ran out of KV cache and gave the request up
  (its recompute scheduler: finish_reason "stop", stop_reason "recomputed").
- Nor is one that ends with finish_reason "abort": nobody but the rank aborted it, for a vLLM that is told to stop ends
  what it has so, with a status of 200.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from gateway import bounds
from gateway.errors import RankFailedError, RecomputedError
from gateway.transfer_params import may_hold_params, without_params
from gateway.wire import Fields

RECOMPUTED = "recomputed"
ABORTED = "abort"

NULL = Raw(b"null")


class Edits(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed: the prefill rank's `cached_tokens`, None where there was none.

    `own_stop`: `recomputed` is a stop string of the client's own, so to stop there means nothing else.
    """

    cached_tokens: int | None = None
    own_stop: bool = False


AS_IT_CAME = Edits(own_stop=True)
"""Nothing but what no client may be shown."""


class _Choice(msgspec.Struct):
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    text: str | None = None
    delta: dict[str, Raw] | None = None
    token_ids: list[int] | None = None


FIELDS_DECODER = msgspec.json.Decoder(Fields)
CHOICES_DECODER = msgspec.json.Decoder(list[_Choice])
STOP_DECODER = msgspec.json.Decoder(str | list[str] | None)


def stops_at_recomputed(fields: Fields) -> bool:
    """Whether a request has `recomputed` among its stop strings."""
    try:
        stop = STOP_DECODER.decode(fields.get("stop", NULL))
    except msgspec.DecodeError:
        return False  # the rank refuses it
    return stop == RECOMPUTED or (isinstance(stop, list) and RECOMPUTED in stop)


def worth_a_look(document: bytes) -> bool:
    """Whether there may be something to edit; most answers and nearly all events have nothing and are not decoded."""
    # Not in a loop: this is asked of every event of every stream.
    return (
        b'"abort"' in document
        or b'"recomputed"' in document
        or b'"cached_tokens"' in document
        or may_hold_params(document)
    )


def edited(document: bytes, edits: Edits, *, streamed: bool) -> bytes:
    """One JSON document of an answer as the client gets it: a whole body, or a `streamed` event's data.

    What is no JSON object stays as it is, unless it may hold transfer params. Raises RecomputedError, RankFailedError.
    """
    if not worth_a_look(document):
        return document
    bounds.check_answer(document, bounds.EVENT if streamed else bounds.ANSWER)
    if may_hold_params(document):
        document = without_params(document)
    try:
        fields = FIELDS_DECODER.decode(document)
        changes = _changes(fields, edits)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return document
    choices = _choices(fields)
    if any(choice.finish_reason == ABORTED for choice in choices):
        raise RankFailedError("The rank aborted the request before its answer was complete")
    if not edits.own_stop and _is_recomputed(choices, streamed=streamed):
        raise RecomputedError("The decode rank ran out of KV cache and gave the request up; it may be sent again")
    return msgspec.json.encode(fields | changes) if changes else document


def _changes(fields: Fields, edits: Edits) -> Fields:
    if edits.cached_tokens is not None and (usage := _object(fields.get("usage"))):
        details = _object(usage.get("prompt_tokens_details"))
        if "cached_tokens" in details:
            details["cached_tokens"] = _raw(edits.cached_tokens)
            return {"usage": _raw(usage | {"prompt_tokens_details": _raw(details)})}
    return {}


def _object(raw: Raw | None) -> Fields:
    return FIELDS_DECODER.decode(raw) if raw is not None and bytes(memoryview(raw)[:1]) == b"{" else {}


def _raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def _choices(fields: Fields) -> list[_Choice]:
    """None where one of them is odd."""
    try:
        return CHOICES_DECODER.decode(fields.get("choices", Raw(b"[]")))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def _is_recomputed(choices: list[_Choice], *, streamed: bool) -> bool:
    return any(
        choice.finish_reason == "stop"
        and choice.stop_reason == RECOMPUTED
        and not (streamed and (_says_something(choice) or choice.token_ids))
        for choice in choices
    )


def _says_something(choice: _Choice) -> bool:
    return bool(choice.text) or bytes((choice.delta or {}).get("content", NULL)) not in (b"null", b'""')
