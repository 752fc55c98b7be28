"""The ids of responses: which one an answer of /v1/responses has, and which one a request goes on from. Pure."""

from __future__ import annotations

import msgspec

from gateway import sse
from gateway.wire import NULL, Fields, boolean_of

MAX_BYTES = 512
"""vLLM's own have 21; a client may choose one."""


class _Identified(msgspec.Struct):
    id: str | None = None


class _Answer(msgspec.Struct):
    id: str | None = None
    response: _Identified | None = None


ANSWER_DECODER = msgspec.json.Decoder(_Answer)
ID_DECODER = msgspec.json.Decoder(str)
PREVIOUS = "previous_response_id"


def of_answer(said: bytes) -> str | None:
    """The id in a whole answer, or in the first event that has one; None if there is none."""
    documents = [said] if said.startswith(b"{") else [sse.data_of(event) for event in sse.events_of(said)]
    return next(filter(None, map(_of_document, filter(None, documents))), None)


def is_to_be_kept(fields: Fields) -> bool:
    """Whether a request asks the rank to keep its response: unless it says no."""
    if "store" not in fields:
        return True
    try:
        return bool(boolean_of(fields["store"]))
    except msgspec.DecodeError:
        return False  # the rank refuses it


def previous_of(fields: Fields) -> str | None:
    """The response that a request goes on from; None if there is none that can be read."""
    try:
        return ID_DECODER.decode(fields.get(PREVIOUS, NULL))
    except msgspec.DecodeError:
        return None


def _of_document(document: bytes) -> str | None:
    try:
        answer = ANSWER_DECODER.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    found = answer.response.id if answer.response else answer.id
    return found if found and len(found.encode()) <= MAX_BYTES else None
