"""The body of a generation request: the few fields the gateway reads, everything else raw. Pure.

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
refused. What the fields mean is for the rank to judge, and also what is wrong with one of a shape that the gateway
cannot read: such a field counts as not given. Types are read with vLLM's own leniency ("5" is 5).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Raw

from gateway import engine_words

Fields = dict[str, Raw]

FORBIDDEN = ("kv_transfer_params", "ec_transfer_params")
STEERING = frozenset({*FORBIDDEN, "bootstrap_host", "bootstrap_port", "bootstrap_room"})
"""At the top of a body SGLang has no object around what says whom to connect to."""
EXTRA_ARGUMENTS = "vllm_xargs"

NULL = Raw(b"null")
EMPTY = Raw(b"{}")
FIELDS_DECODER = msgspec.json.Decoder(Fields)
MODEL_DECODER = msgspec.json.Decoder(str | None)
SCALAR_DECODER = msgspec.json.Decoder(bool | int | float | str | None)
TRUTHS: Mapping[object, bool] = MappingProxyType(
    dict.fromkeys((True, "1", "true", "t", "yes", "y", "on"), True)
    | dict.fromkeys((False, "0", "false", "f", "no", "n", "off"), False)
)
"""What pydantic takes for a boolean, in any case of its letters; 1 and 1.0 are the same key as True."""


INTEGER = re.compile(r"\s*([+-]?[0-9]+(?:_[0-9]+)*)(?:\.0*)?\s*", re.ASCII)
"""What pydantic takes for an integer in a string."""

MAX_DIGITS = 4_300
"""Longer ones Python refuses to read."""


class Api(StrEnum):
    """The route a request came in by."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    MESSAGES = "messages"
    GENERATE = "generate"


OBJECT_DECODER = msgspec.json.Decoder(Fields | None)
STREAM_OPTIONS = ("include_usage", "continuous_usage_stats")
LIMITS: Mapping[Api, tuple[str, ...]] = MappingProxyType(
    {
        Api.CHAT: ("max_tokens", "max_completion_tokens"),
        Api.COMPLETIONS: ("max_tokens",),
        Api.RESPONSES: ("max_output_tokens",),
        Api.MESSAGES: ("max_tokens",),
        Api.GENERATE: ("max_tokens",),
    }
)
"""The fields that limit an answer; the last one that is given wins."""

SAMPLING = "sampling_params"
"""Where /inference/v1/generate has its limit and its `n`."""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A request's body, read. `forward` is what the rank gets; `fields` are the raw values in it by decoded key.

    `asks_usage` says whether the client asks for the usage of a stream, or for none that can be read; `withholds_usage`
    whether the gateway does in its stead (asked_usage.py). `max_tokens` is what the client allows for one choice (None:
    no word of it), `n` how many choices it wants. `readable`: all of these could be read.
    """

    forward: bytes
    fields: Fields
    model: str | None
    streamed: bool
    asks_usage: bool
    withholds_usage: bool = False
    max_tokens: int | None
    n: int
    readable: bool


def read(raw: bytes, api: Api = Api.CHAT) -> Body:
    """Read a body; that of an API not known in detail as a chat's.

    Raises InvalidRequestError and UnparsableBodyError, in vLLM's words, unless it is an object that may name a model.
    """
    fields = _decode(raw)
    stripped = _strip(fields)
    reader = _Reader(fields)
    options = _Reader(reader.get("stream_options", OBJECT_DECODER) or {})
    asks_usage, _ = [options.flag(name) for name in STREAM_OPTIONS]
    all_read = reader.all_read and options.all_read
    streamed = reader.flag("stream")
    sampling = _Reader(sampling_of(fields)) if api is Api.GENERATE else reader
    limits = [sampling.integer(name) for name in LIMITS[api]]
    n = sampling.integer("n")
    return Body(
        forward=raw if stripped is fields and EXTRA_ARGUMENTS not in fields else msgspec.json.encode(stripped),
        fields=stripped,
        model=_model(fields),
        streamed=streamed,
        asks_usage=asks_usage or not all_read,
        max_tokens=next((limit for limit in reversed(limits) if limit is not None), None),
        n=n or 1,
        readable=reader.all_read and options.all_read and sampling.all_read,
    )


def boolean_of(raw: Raw) -> bool | None:
    """A boolean as vLLM reads it. Raises msgspec.DecodeError for what is none."""
    value = SCALAR_DECODER.decode(raw)
    found = TRUTHS.get(value.lower() if isinstance(value, str) else value)
    if found is None and value is not None:
        raise msgspec.ValidationError("Expected `bool | null`")
    return found


def integer_of(raw: Raw) -> int | None:
    """An integer as vLLM reads it. Raises msgspec.DecodeError for what is none."""
    value = SCALAR_DECODER.decode(raw)
    if isinstance(value, str) and len(value) <= MAX_DIGITS and (found := INTEGER.fullmatch(value)):
        return int(found[1])
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    if value is not None:
        raise msgspec.ValidationError("Expected `int | null`")
    return None


def sampling_of(fields: Fields) -> Fields:
    """The fields of a body's `sampling_params`; none where there is no such object."""
    try:
        return FIELDS_DECODER.decode(fields.get(SAMPLING, EMPTY))
    except (msgspec.DecodeError, RecursionError):
        return {}


def without_fields(model: str | None) -> Body:
    """What is known of a body that is not JSON, or not there."""
    return Body(
        forward=b"", fields={}, model=model, streamed=False, asks_usage=False, max_tokens=None, n=1, readable=False
    )


class _Reader:
    """Decodes fields one by one. `all_read`: no field was met that could not be decoded."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self.all_read = True

    def get(self, name: str, decoder: msgspec.json.Decoder[Any]) -> Any:
        """A field's value; None if it is not given or cannot be read."""
        return self._read(name, decoder.decode)

    def flag(self, name: str) -> bool:
        """Whether a boolean field is given and true."""
        return bool(self._read(name, boolean_of))

    def integer(self, name: str) -> int | None:
        """A field's integer; None if it is not given or cannot be read."""
        value: int | None = self._read(name, integer_of)
        return value

    def _read(self, name: str, decode: Callable[[Raw], Any]) -> Any:
        try:
            return decode(self._fields.get(name, NULL))
        except (msgspec.DecodeError, RecursionError):
            self.all_read = False
            return None


def _decode(raw: bytes) -> Fields:
    try:
        if not raw.isascii():
            raw.decode()  # msgspec does not look into the strings it skips
        return FIELDS_DECODER.decode(raw)
    except UnicodeDecodeError as error:
        reason = f"invalid UTF-8 (byte {error.start})"
    except RecursionError:
        reason = "nested too deeply"
    except msgspec.DecodeError as error:
        reason = str(error)
    raise engine_words.of_body(raw, reason)


def _model(fields: Fields) -> str | None:
    raw = fields.get("model", NULL)
    try:
        model: str | None = MODEL_DECODER.decode(raw)
    except msgspec.DecodeError as error:
        raise engine_words.of_model(bytes(raw)) from error
    return model


def _strip(fields: Fields) -> Fields:
    """The fields without what a client may not say; `fields` itself where there is nothing to strip."""
    stripped = {name: value for name, value in fields.items() if name not in STEERING}
    arguments = stripped.get(EXTRA_ARGUMENTS)
    if arguments is not None and (text := bytes(arguments)).startswith(b"{"):
        inner = _decode(text)
        kept = {name: value for name, value in inner.items() if name not in FORBIDDEN}
        if len(kept) != len(inner):
            stripped[EXTRA_ARGUMENTS] = Raw(msgspec.json.encode(kept))
            return stripped
    return stripped if len(stripped) != len(fields) else fields
