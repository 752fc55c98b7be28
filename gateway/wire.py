"""The body of a completions request: the few fields the gateway reads, everything else raw.

A body that needs no change reaches the rank as the very bytes the client sent. `kv_transfer_params` and
`ec_transfer_params` steer a rank's connections to other hosts and can kill its engine, so a client's never
pass:

- they are looked for among the *decoded* keys, so an escaped spelling ("kv\\u005ftransfer_params") counts as
  well;
- of a key that stands there twice every occurrence goes, whichever of them another parser would have
  believed;
- inside `vllm_xargs` too, because vLLM merges kv_transfer_params into those very arguments; a body that has them at
  all is written anew, so that of two only the one that was looked into passes;
- such a body is written anew from the decoded keys, the values byte for byte.

JSON is read as strictly as RFC 8259 says, so NaN, Infinity, lone surrogates and invalid UTF-8 anywhere are
refused. What the fields mean is for the rank to judge; only types are checked here, with vLLM's own leniency
("5" is 5).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Raw

from gateway.errors import QUOTED, InvalidRequestError, quoted

Fields = dict[str, Raw]

FORBIDDEN = ("kv_transfer_params", "ec_transfer_params")
EXTRA_ARGUMENTS = "vllm_xargs"

FIELDS_DECODER = msgspec.json.Decoder(Fields)
MODEL_DECODER = msgspec.json.Decoder(str | None)
INTEGER_DECODER = msgspec.json.Decoder(int | None, strict=False)
BOOLEAN_DECODER = msgspec.json.Decoder(bool | None, strict=False)

BYTE_POSITION = re.compile(r" \(byte (\d+)\)$")


class Api(StrEnum):
    """The route a request came in by."""

    CHAT = "chat"
    COMPLETIONS = "completions"


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


STREAM_OPTIONS_DECODER = msgspec.json.Decoder(_StreamOptions | None, strict=False)


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A request's body, read. `forward` is what the rank gets; `fields` are the raw values in it by decoded key.

    `usage_streamed` says whether the stream that is asked for will end with its usage, `max_tokens` what the client
    allows for one choice (None: no word of it), `n` how many choices it wants.
    """

    forward: bytes
    fields: Fields
    model: str | None
    streamed: bool
    usage_streamed: bool
    max_tokens: int | None
    n: int


def read(raw: bytes) -> Body:
    """Read a body. Raises InvalidRequestError, in vLLM's words."""
    fields = _decode(raw)
    stripped = _strip(fields)
    max_tokens = _integer(fields, "max_completion_tokens")
    options = _field(
        fields, "stream_options", STREAM_OPTIONS_DECODER, "dict_type", "Input should be a valid dictionary"
    )
    streamed = bool(_field(fields, "stream", BOOLEAN_DECODER, "bool_parsing", "Input should be a valid boolean"))
    return Body(
        forward=raw if stripped is fields and EXTRA_ARGUMENTS not in fields else msgspec.json.encode(stripped),
        fields=stripped,
        model=_field(fields, "model", MODEL_DECODER, "string_type", "Input should be a valid string"),
        streamed=streamed,
        usage_streamed=streamed and options is not None and bool(options.include_usage),
        max_tokens=_integer(fields, "max_tokens") if max_tokens is None else max_tokens,
        n=_integer(fields, "n") or 1,
    )


def invalid(kind: str, path: str, message: str, given: str) -> InvalidRequestError:
    """One schema error as vLLM words it; `path` is dotted and starts with `body`."""
    return _invalid({"type": kind, "loc": path, "msg": message, "input": given})


def excerpt(raw: Raw) -> str:
    """The beginning of a value, to show a client what it sent."""
    # A character has four bytes at most; one that is cut off is beyond what is shown.
    return quoted(bytes(memoryview(raw)[: 4 * QUOTED + 4]).decode(errors="replace"))


def _invalid(detail: dict[str, object]) -> InvalidRequestError:
    return InvalidRequestError(f"1 validation error:\n  {detail}", param=str(detail["loc"]))


def _decode(raw: bytes) -> Fields:
    if not raw:
        raise invalid("missing", "body", "Field required", "None")
    try:
        if not raw.isascii():
            raw.decode()  # msgspec does not look into the strings it skips
        return FIELDS_DECODER.decode(raw)
    except UnicodeDecodeError as error:
        raise _not_json(error.start, f"invalid UTF-8: {error.reason}") from error
    except RecursionError as error:
        raise _not_json(len(raw), "nested too deeply") from error
    except msgspec.ValidationError as error:
        kind = str(error).rpartition("got ")[2].strip("`")
        message = "Input should be a valid dictionary or object to extract fields from"
        raise invalid("model_attributes_type", "body", message, f"<{kind}>") from error
    except msgspec.DecodeError as error:
        where = BYTE_POSITION.search(str(error))
        raise _not_json(int(where[1]) if where else len(raw), BYTE_POSITION.sub("", str(error))) from error


def _not_json(position: int, reason: str) -> InvalidRequestError:
    return _invalid(
        {
            "type": "json_invalid",
            "loc": f"body.{position}",
            "msg": "JSON decode error",
            "input": "<dict of 0 items>",
            "ctx": {"error": reason},
        }
    )


def _strip(fields: Fields) -> Fields:
    """The fields without what a client may not say; `fields` itself where there is nothing to strip."""
    stripped = {name: value for name, value in fields.items() if name not in FORBIDDEN}
    arguments = stripped.get(EXTRA_ARGUMENTS)
    if arguments is not None and (text := bytes(arguments)).startswith(b"{"):
        inner = _decode(text)
        kept = {name: value for name, value in inner.items() if name not in FORBIDDEN}
        if len(kept) != len(inner):
            stripped[EXTRA_ARGUMENTS] = Raw(msgspec.json.encode(kept))
            return stripped
    return stripped if len(stripped) != len(fields) else fields


def _field(fields: Fields, name: str, decoder: msgspec.json.Decoder[Any], kind: str, message: str) -> Any:
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise invalid(kind, f"body.{name}", message, excerpt(raw)) from error


def _integer(fields: Fields, name: str) -> int | None:
    value: int | None = _field(fields, name, INTEGER_DECODER, "int_parsing", "Input should be a valid integer")
    return value
