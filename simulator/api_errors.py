"""The errors vLLM 0.32 answers with, and how it words a body that breaks the schema. Pure.

Wording, order and framing are those of captured answers (tests/data/vllm).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

_SHOWN: Final = 10
_SHOWN_INPUT: Final = 200
_SHOWN_PROBLEM: Final = 1000

Problem = Mapping[str, Any]
"""One schema violation as pydantic describes it: type, loc, msg, input and perhaps ctx."""


class ApiError(Exception):
    """An error answer: its HTTP status and JSON body."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(body.decode())
        self.status = status
        self.body = body


class SchemaError(ApiError):
    """The body breaks the schema: vLLM refuses it before it looks at anything it asks for, KV to be freed included."""


def as_event(error: ApiError) -> bytes:
    """The error as an event of a stream: vLLM writes this one, unlike all other JSON, with spaces."""
    return b"data: " + json.dumps(json.loads(error.body)).encode() + b"\n\n"


def api_error(status: int, message: str, kind: str, param: str | None = None) -> ApiError:
    """An OpenAI-shaped error. Lone surrogates, which a message may have from the request, are spelt out."""
    shown = message.encode(errors="backslashreplace").decode()
    detail = {"message": shown, "type": kind, "param": param, "code": status}
    return ApiError(status, msgspec.json.encode({"error": detail}))


def bad_request(message: str, param: str | None = None) -> ApiError:
    """A well-formed request that asks for something impossible."""
    return api_error(400, message, "BadRequestError", param)


def bad_value(message: str, param: str, value: object = None) -> ApiError:
    """As `bad_request`, naming the parameter and, if given, its value in the message."""
    shown = f"parameter={param}" if value is None else f"parameter={param}, value={value}"
    return bad_request(f"{message} ({shown})", param)


def while_read(error: ApiError) -> SchemaError:
    """The same answer, given while the body is read: what is well-formed for pydantic breaks vLLM's own rules."""
    return SchemaError(error.status, error.body)


def unknown_model(name: str, served: str | None = None) -> ApiError:
    """The model is not served here. Where no answer is generated vLLM does not say which is."""
    text = f"The model `{name}` does not exist."
    if served is None:
        return api_error(404, text, "NotFoundError")
    return api_error(404, f"{text} Valid aliases: {served}.", "NotFoundError", "model")


def too_busy() -> ApiError:
    """The queue limit is reached."""
    text = "The engine is currently busy and cannot accept new requests."
    return api_error(503, f"{text} Please try again later or on a different instance.", "Service Unavailable")


def internal_error() -> ApiError:
    """A request's KV did not come."""
    return api_error(500, "Internal server error", "InternalServerError")


def engine_dead() -> ApiError:
    """The engine has died, and the server is about to."""
    text = "EngineCore encountered an issue. See stack trace (above) for the root cause."
    return api_error(500, text, "InternalServerError")


def repeatable(document: object) -> bytes:
    """The JSON of what repeats parts of a request; raises ApiError for lone surrogates, which it cannot have."""
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError as error:
        raise bad_request(str(error)) from None


def wrong_media_type() -> SchemaError:
    """The body is not declared to be JSON."""
    return _validation(["Unsupported Media Type: Only 'application/json' is allowed"], 1, None)


def undecodable() -> ApiError:
    """The body is not UTF-8."""
    return ApiError(400, b'{"detail":"There was an error parsing the body"}')


def schema_error(problems: Sequence[Problem]) -> SchemaError:
    """The body breaks the schema; the first ten problems are spelt out."""
    lines = [_cut(str(dict(problem)), _SHOWN_PROBLEM) for problem in problems[:_SHOWN]]
    return _validation(lines, len(problems), problems[0]["loc"])


def problem(kind: str, loc: str, msg: str, value: object, **ctx: object) -> Problem:
    """One violation; big inputs are shown by their size."""
    found = {"type": kind, "loc": loc, "msg": msg, "input": _shown(value)}
    return {**found, "ctx": ctx} if ctx else found


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return f"<dict of {len(value)} items>"
    if isinstance(value, list):
        return f"<list of {len(value)} items>"
    return _cut(str(value), _SHOWN_INPUT)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "...[truncated]"


def _validation(lines: Sequence[str], count: int, param: str | None) -> SchemaError:
    text = f"{count} validation error{'s' if count > 1 else ''}:\n  " + "\n  ".join(lines)
    if count > _SHOWN:
        text += f"\n  ...and {count - _SHOWN} more errors"
    return SchemaError(400, api_error(400, text, "Bad Request", param).body)
