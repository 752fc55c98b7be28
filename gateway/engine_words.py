"""What an engine says of a body that no rank is asked about, word for word. Pure.

vLLM reads a body with Python's own json module before it looks at a field, and tells where that stopped, or of what
kind the value is that it found instead of an object. Only objects that were decoded strictly are sent to ranks, so for
all others its words are found here, by the same module. The wording is that of vLLM 0.32.0; the reasons for broken JSON
are this process's Python's, which an engine on another Python may put otherwise.
"""

from __future__ import annotations

import json
from typing import Any

from gateway.errors import GatewayError, InvalidRequestError, UnparsableBodyError

MAX_BYTES = 1 << 20
"""Python's json module takes some 50 ms for as much; of a larger body we say in our own words what is wrong."""

SHOWN_INPUT = 200
SHOWN_PROBLEM = 1000
"""How many characters vLLM shows of a client's value, and of one problem altogether."""


def of_body(raw: bytes, reason: str) -> GatewayError:
    """The engine's error for a body that is no JSON object.

    Our own words, with this `reason`, where the body is too large to look into, and where Python takes for JSON what is
    none, such as NaN or half a surrogate pair: an engine might accept that, but other parsers would read it otherwise.
    """
    if not raw:
        return _missing()
    own = InvalidRequestError(f"The request's body is no JSON object that is passed on: {reason}", param="body")
    if len(raw) > MAX_BYTES:
        return own
    value = _read(raw)
    if isinstance(value, GatewayError):
        return value
    if isinstance(value, dict):
        return own
    if value is None:
        return _missing()
    message = "Input should be a valid dictionary or object to extract fields from"
    return _problem("model_attributes_type", "body", message, _shown(value))


def of_model(raw: bytes) -> GatewayError:
    """The engine's error for a `model` of this JSON, which is no string."""
    if len(raw) > MAX_BYTES:
        return InvalidRequestError("The request's model is no string", param="body.model")
    value = _read(raw)
    if isinstance(value, GatewayError):
        return value
    return _problem("string_type", "body.model", "Input should be a valid string", _shown(value))


def _read(raw: bytes) -> Any:
    """What Python makes of it, or the engine's error where it makes nothing of it."""
    try:
        return json.loads(raw)
    except json.JSONDecodeError as error:
        return _problem("json_invalid", f"body.{error.pos}", "JSON decode error", _shown({}), error.msg)
    except (ValueError, RecursionError):  # another encoding, thousands of digits, nested too deeply
        return UnparsableBodyError("There was an error parsing the body")


def _missing() -> InvalidRequestError:
    return _problem("missing", "body", "Field required", _shown(None))


def _problem(kind: str, path: str, message: str, shown: str, reason: str = "") -> InvalidRequestError:
    problem: dict[str, object] = {"type": kind, "loc": path, "msg": message, "input": shown}
    if reason:
        problem["ctx"] = {"error": reason}
    return InvalidRequestError(f"1 validation error:\n  {_cut(str(problem), SHOWN_PROBLEM)}", param=path)


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return f"<{type(value).__name__} of {len(value)} items>"
    return _cut(str(value), SHOWN_INPUT)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "...[truncated]"
