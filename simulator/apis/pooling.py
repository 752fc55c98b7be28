"""What embeddings, classification and the like ask for: their prompts are computed, and no token generated. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from simulator import tokens, validation
from simulator.api_errors import bad_request, bad_value, problem, schema_error, unknown_model
from simulator.field_types import integer, string
from simulator.generation import Generation
from simulator.prompt import Prompt, chat_prompt, output_limits, text_prompt
from simulator.settings import RankSettings

_FIELDS: Final[validation.Fields] = {
    "model": string,
    "input": validation.prompt,
    "messages": validation.messages,
    "encoding_format": string,
    "dimensions": integer,
    "task": string,
    "request_id": string,
}
_ENCODINGS: Final = ("float", "base64")
_TASKS: Final = ("embed", "classify")


def embeddings(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /v1/embeddings body; raises ApiError."""
    return _read("embd-", "embed", data, settings)


def pooling(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /pooling body; raises ApiError."""
    task = data.get("task") or "embed"
    if task not in _TASKS:
        raise bad_value(f"Unsupported task: {task!r} Supported tasks: {list(_TASKS)}", "task")
    return _read("pooling-", task, data, settings)


def classification(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /classify body; raises ApiError."""
    return _read("classify-", "classify", data, settings)


def cohere_embeddings(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /v2/embed body; raises ApiError. What kind of input it is changes nothing here."""
    texts = data.get("texts")
    if texts is None and isinstance(data.get("inputs"), list):
        texts = ["".join(map(str, _texts_of(each))) for each in data["inputs"]]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        text = "Exactly one of texts, images, or inputs must be provided, and it must be non-empty"
        raise schema_error([problem("value_error", "body", f"Value error, {text}", data, error=ValueError(text))])
    kinds = data.get("embedding_types") or ["float"]
    if not isinstance(kinds, list) or not all(kind in _ENCODINGS for kind in kinds):
        raise bad_request(f"embedding_types must be some of {', '.join(_ENCODINGS)}")
    _check_model(data, settings)
    return computed(tuple(map(text_prompt, texts)), "embd-", settings, kinds=kinds, texts=data.get("texts"))


def computed(prompts: Sequence[Prompt], id_prefix: str, settings: RankSettings, **repeats: Any) -> Generation:
    """A request for nothing but prompts; raises ApiError where there are none or one does not fit."""
    if not prompts:
        raise bad_request("You must pass at least one prompt")
    if not all(prompt.ids for prompt in prompts):
        raise bad_request("The decoder prompt cannot be empty")
    output_limits(tuple(prompts), None, "max_tokens", settings)
    limits = (0,) * len(prompts)
    return Generation(prompts=tuple(prompts), max_tokens=limits, id_prefix=id_prefix, id_suffix="-{}", repeats=repeats)


def check_fields(data: Mapping[str, Any], fields: validation.Fields, settings: RankSettings) -> None:
    """Check types, then the model; raises ApiError."""
    validation.check(data, fields)
    _check_model(data, settings)


def _check_model(data: Mapping[str, Any], settings: RankSettings) -> None:
    name = data.get("model")
    if name and name != settings.model:
        raise unknown_model(str(name))


def _read(id_prefix: str, task: str, data: Mapping[str, Any], settings: RankSettings) -> Generation:
    if data.get("input") is None and data.get("messages") is None:
        raise schema_error([problem("missing", "body.input", "Field required", data)])
    check_fields(data, _FIELDS, settings)
    encoding = data.get("encoding_format") or "float"
    if encoding not in _ENCODINGS:
        raise bad_request(f"encoding_format must be one of {', '.join(_ENCODINGS)}")
    if (dimensions := data.get("dimensions")) is not None:
        raise bad_request(
            f"Model {settings.model!r} does not support Matryoshka embeddings; dimensions must be unset (received "
            f"dimensions={int(dimensions)})."
        )
    if data.get("messages") is not None:
        prompts: tuple[Prompt, ...] = (chat_prompt(data["messages"], settings),)
    else:
        prompts = tuple(map(_prompt, _many(data["input"])))
    return computed(prompts, id_prefix, settings, task=task, encoding=encoding)


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) and (not value or not isinstance(value[0], int)) else [value]


def _prompt(value: str | list[int]) -> Prompt:
    if isinstance(value, str):
        return text_prompt(value)
    if (unknown := tokens.first_unknown(value)) is not None:
        raise bad_request(f"Token id {unknown} is out of vocabulary")
    return Prompt(value, "ids")


def _texts_of(given: Any) -> list[str]:
    parts = given.get("content") if isinstance(given, dict) else None
    return [part.get("text") or "" for part in parts or () if isinstance(part, dict)]
