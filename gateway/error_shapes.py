"""Our errors as each API writes them, in a body of their own and in a stream. Pure.

- OpenAI's and vLLM's: `{"error": {...}}` (errors.py), in a stream as `data:`.
- Anthropic's, on /v1/messages: `{"type": "error", "error": {"type", "message"}}`, in a stream as `event: error`. The
  types are vLLM's own, which has the same on this path; only a body that is refused while it is read has OpenAI's
  shape there.
- A stream of OpenAI's Responses API has an `event: error` whose data is the error itself, and is numbered.
"""

from __future__ import annotations

import re
from enum import Enum, auto

import msgspec

from gateway import errors
from gateway.errors import GatewayError

NUMBER = re.compile(rb'"sequence_number": ?([0-9]{1,15})')


class ErrorShape(Enum):
    """How an API writes errors."""

    OPENAI = auto()
    ANTHROPIC = auto()
    RESPONSES = auto()


def shape_at(path: str) -> ErrorShape:
    """The shape of errors on a path."""
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return ErrorShape.ANTHROPIC
    is_response = path == "/v1/responses" or path.startswith("/v1/responses/")
    return ErrorShape.RESPONSES if is_response else ErrorShape.OPENAI


def body_of(error: GatewayError, shape: ErrorShape) -> bytes:
    """An answer that is nothing but the error."""
    return msgspec.json.encode(_of_anthropic(error)) if shape is ErrorShape.ANTHROPIC else errors.body_of(error)


def event_of(error: GatewayError, shape: ErrorShape, last_events: bytes = b"") -> bytes:
    """The error as a server-sent event, for a stream whose head has been sent; `last_events` came before it."""
    match shape:
        case ErrorShape.OPENAI:
            return b"data: " + errors.body_of(error) + b"\n\n"
        case ErrorShape.ANTHROPIC:
            told = _of_anthropic(error)
        case ErrorShape.RESPONSES:
            told = {
                "type": "error",
                "code": str(errors.status_of(error)),
                "message": error.message,
                "param": error.param,
                "sequence_number": max(map(int, NUMBER.findall(last_events)), default=-1) + 1,
            }
    return b"event: error\ndata: " + msgspec.json.encode(told) + b"\n\n"


def _of_anthropic(error: GatewayError) -> dict[str, object]:
    return {"type": "error", "error": {"type": errors.KINDS[type(error)].type, "message": error.message}}
