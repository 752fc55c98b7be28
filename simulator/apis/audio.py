"""What an audio request asks for: the form that has the file, and what a speech model would hear in it. Pure.

As in Whisper there are 50 tokens to a second. A WAV file says how long it is; others are taken for 128 kbit/s.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Final
from zlib import crc32

from simulator import tokens
from simulator.api_errors import bad_request, bad_value, problem, schema_error, while_read
from simulator.form import fields_of
from simulator.generation import Generation, check_model, sampling
from simulator.prompt import Prompt, output_limits
from simulator.settings import RankSettings

_TOKENS_PER_S: Final = 50
_BYTES_PER_S: Final = 16_000
_LEAST_BYTES_PER_S: Final = 4_000
_FORMATS: Final = ("text", "json", "verbose_json", "diarized_json")
_TRUE: Final = ("true", "1", "on", "yes")
_STREAM_OPTIONS: Final = ("stream_include_usage", "stream_continuous_usage_stats")


def form(body: bytes, content_type: str | None) -> dict[str, Any]:
    """The form's fields as the values they stand for, the file as bytes; raises ApiError."""
    fields = fields_of(body, content_type)
    if "file" not in fields:
        raise schema_error([problem("missing", "body.file", "Field required", {})])
    found: dict[str, Any] = {name: value.decode(errors="replace") for name, value in fields.items() if name != "file"}
    for name in ("stream", *_STREAM_OPTIONS):
        found[name] = found.get(name, "").lower() in _TRUE
    for name, read in (("temperature", float), ("top_p", float), ("max_completion_tokens", int)):
        if name in found:
            found[name] = _number(name, found[name], read)
    return found | {"file": fields["file"]}


def read(task: str, data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A form's fields; raises ApiError."""
    if option := next((name for name in _STREAM_OPTIONS if data[name] and not data["stream"]), None):
        raise while_read(bad_value("Stream options can only be defined when `stream=True`.", option))
    check_model(data, settings)
    shape = data.get("response_format") or "json"
    if shape not in _FORMATS:
        raise bad_request("Currently only support response_format: `text`, `json`, `verbose_json` or `diarized_json`")
    if shape.endswith("_json"):
        raise bad_request(f"Currently do not support {shape} for {settings.model}")
    seconds = _seconds(data["file"])
    prompts = (Prompt(tokens.encode(f"<|{task}|>{data.get('prompt') or ''}") + _heard(data["file"], seconds), "ids"),)
    limits = output_limits(prompts, data.get("max_completion_tokens"), "max_completion_tokens", settings)
    options = {"include_usage": data[_STREAM_OPTIONS[0]], "continuous_usage_stats": data[_STREAM_OPTIONS[1]]}
    asked = {"stream": data["stream"], "stream_options": options, "temperature": data.get("temperature")}
    return Generation(
        prompts=prompts,
        max_tokens=limits,
        id_prefix=f"{task}-",
        repeats={"seconds": ceil(seconds)},
        **sampling({**asked, "top_p": data.get("top_p")}, limits),
    )


def _number(name: str, text: str, read: type[float | int]) -> float:
    try:
        return read(text)
    except ValueError:
        kind, what = ("int_parsing", "integer") if read is int else ("float_parsing", "number")
        wrong = f"Input should be a valid {what}, unable to parse string as {'an' if read is int else 'a'} {what}"
        raise schema_error([problem(kind, f"body.{name}", wrong, text)]) from None


def _seconds(file: bytes) -> float:
    if file[:4] == b"RIFF" and file[8:12] == b"WAVE" and len(file) >= 44:
        return (len(file) - 44) / max(_LEAST_BYTES_PER_S, int.from_bytes(file[28:32], "little"))
    return len(file) / _BYTES_PER_S


def _heard(file: bytes, seconds: float) -> list[int]:
    """One id for each piece of the file, so that the same sound is the same prompt."""
    count = max(1, ceil(seconds * _TOKENS_PER_S))
    size = max(1, ceil(len(file) / count))
    return [tokens.piece_id(crc32(file[at : at + size]).to_bytes(4, "big")) for at in range(0, len(file) or 1, size)]
