"""Checks a request's JSON against the types vLLM declares, with the answers vLLM gives to what breaks them. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from simulator.api_errors import Problem, problem, schema_error, undecodable, wrong_media_type
from simulator.field_types import boolean, integer, integers, mapping, number, one_or_many_strings, string

Fields = Mapping[str, Callable[[Any, str], list[Problem]]]


def read_json(body: bytes, content_type: str | None) -> dict[str, Any]:
    """The body's JSON object; raises ApiError as vLLM does for anything else."""
    if content_type is None or content_type.partition(";")[0].strip().lower() != "application/json":
        raise wrong_media_type()
    data = _read(body) if body else None
    if data is None:
        raise schema_error([problem("missing", "body", "Field required", None)])
    if not isinstance(data, dict):
        text = "Input should be a valid dictionary or object to extract fields from"
        raise schema_error([problem("model_attributes_type", "body", text, data)])
    return data


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_slowly(body)


def _read_slowly(body: bytes) -> Any:
    """What the standard library, which vLLM reads bodies with, makes of what msgspec refused: often a better error."""
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        loc = f"body.{error.pos}"
        raise schema_error([problem("json_invalid", loc, "JSON decode error", {}, error=error.msg)]) from None
    except (ValueError, RecursionError):  # no encoding of JSON, a number of thousands of digits, nested too deeply
        raise undecodable() from None


def check(data: Mapping[str, Any], fields: Fields) -> None:
    """Raise ApiError naming every field whose value has the wrong type; null stands for the default."""
    found = check_fields(data, fields, "body")
    if found:
        raise schema_error(found)


def check_fields(value: Any, fields: Fields, loc: str) -> list[Problem]:
    """What is wrong with an object's fields."""
    if not isinstance(value, dict):
        return mapping(value, loc)
    present = [(name, found) for name, found in fields.items() if value.get(name) is not None]
    return [wrong for name, problems in present for wrong in problems(value[name], f"{loc}.{name}")]


def prompt(value: Any, loc: str) -> list[Problem]:
    """A text, a list of ids, a list of texts, or a list of lists of ids. Like pydantic, all four are tried."""
    if isinstance(value, str) or (isinstance(value, list) and _prompts(value)):
        return []
    wrong_list = problem("list_type", loc, "Input should be a valid list", value)
    wrong_text = problem("string_type", loc, "Input should be a valid string", value)
    return [wrong_list, wrong_list, wrong_text, wrong_list]


def _prompts(values: list[Any]) -> bool:
    kinds = {type(value) for value in values}
    if kinds == {list}:
        return all(type(token) is int for value in values for token in value)
    return kinds in (set(), {int}, {str})


_MESSAGE_PARAMS: Final = (
    ("ChatCompletionDeveloperMessageParam", "role"),
    ("ChatCompletionSystemMessageParam", "role"),
    ("ChatCompletionUserMessageParam", "role"),
    ("ChatCompletionAssistantMessageParam", "role"),
    ("ChatCompletionToolMessageParam", "role"),
    ("ChatCompletionToolMessageParam", "tool_call_id"),
    ("ChatCompletionFunctionMessageParam", "name"),
    ("ChatCompletionFunctionMessageParam", "role"),
    ("CustomChatCompletionMessageParam", "role"),
    ("Message", "author"),
    ("Message", "content"),
)  # the kinds of message vLLM tries one after another, and what each misses in one without a role


def messages(value: Any, loc: str) -> list[Problem]:
    """A list of objects with a role each."""
    if not isinstance(value, list):
        return [problem("list_type", loc, "Input should be a valid list", value)]
    found: list[Problem] = []
    for at, message in enumerate(value):
        if not isinstance(message, dict):
            found += mapping(message, f"{loc}.{at}")
        elif not isinstance(message.get("role"), str):
            found += [
                problem("missing", f"{loc}.{at}.{kind}.{name}", "Field required", message)
                for kind, name in _MESSAGE_PARAMS
            ]
        else:
            found += _content(message.get("content"), f"{loc}.{at}.content")
    return found


def _content(value: Any, loc: str) -> list[Problem]:
    if value is None or isinstance(value, str):
        return []
    if not isinstance(value, list):
        return string(value, loc)
    found: list[Problem] = []
    for at, part in enumerate(value):
        found += check_fields(part, {"type": string, "text": string}, f"{loc}.{at}")
        if isinstance(part, dict):
            found += _required(part, "type", f"{loc}.{at}")
            found += _required(part, "text", f"{loc}.{at}") if part.get("type") == "text" else []
    return found


def _required(part: dict[str, Any], name: str, loc: str) -> list[Problem]:
    """A member that has no default."""
    if name not in part:
        return [problem("missing", f"{loc}.{name}", "Field required", part)]
    return string(None, f"{loc}.{name}") if part[name] is None else []


def response_format(value: Any, loc: str) -> list[Problem]:
    """One of vLLM's three kinds of response format; like pydantic, each is tried."""
    if not isinstance(value, dict):
        return mapping(value, loc)
    kind = value.get("type")
    if kind in ("text", "json_object", "json_schema", "structural_tag"):
        schema = value.get("json_schema")
        return check_fields(schema, {"schema": mapping}, f"{loc}.json_schema") if schema is not None else []
    any_of, tag = "'text', 'json_object' or 'json_schema'", "'structural_tag'"
    wrong, wrong_tag = (
        problem("literal_error", f"{loc}.type", f"Input should be {expected}", kind, expected=expected)
        for expected in (any_of, tag)
    )
    missing = [problem("missing", f"{loc}.{name}", "Field required", value) for name in _TAG_FIELDS]
    return [wrong, wrong_tag, missing[0], wrong_tag, *missing[1:]]


_TAG_FIELDS: Final = ("format", "structures", "triggers")

SAMPLING: Final[Fields] = {
    "model": string,
    "max_tokens": integer,
    "n": integer,
    "stop": one_or_many_strings,
    "stream": boolean,
    "stream_options": mapping,
    "temperature": number,
    "top_p": number,
    "min_tokens": integer,
    "ignore_eos": boolean,
    "stop_token_ids": integers,
    "include_stop_str_in_output": boolean,
    "return_token_ids": boolean,
    "request_id": string,
    "kv_transfer_params": mapping,
}
COMPLETION: Final[Fields] = {**SAMPLING, "prompt": prompt, "echo": boolean, "logprobs": integer}
CHAT: Final[Fields] = {
    **SAMPLING,
    "messages": messages,
    "max_completion_tokens": integer,
    "logprobs": boolean,
    "top_logprobs": integer,
    "response_format": response_format,
}
TOKENIZE: Final[Fields] = {"model": string, "prompt": string, "messages": messages, "return_token_strs": boolean}
DETOKENIZE: Final[Fields] = {"model": string, "tokens": integers}
