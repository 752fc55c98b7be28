"""What a /v1/responses request asks for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from simulator import validation
from simulator.api_errors import ApiError, api_error, bad_value, problem, repeatable, schema_error, while_read
from simulator.apis.response_input import Messages, messages_of, wrong_input
from simulator.field_types import (
    boolean,
    integer,
    integers,
    mapping,
    number,
    objects,
    one_or_many_strings,
    string,
)
from simulator.generation import Generation, alternatives, by_settings, check_model, sampling
from simulator.prompt import chat_prompt, output_limits
from simulator.settings import RankSettings

_LOGPROBS: Final = "message.output_text.logprobs"

FIELDS: Final[validation.Fields] = {
    "background": boolean,
    "input": wrong_input,
    "instructions": string,
    "include": one_or_many_strings,
    "max_output_tokens": integer,
    "max_tool_calls": integer,
    "presence_penalty": number,
    "frequency_penalty": number,
    "reasoning": mapping,
    "service_tier": string,
    "tools": objects,
    "truncation": string,
    "model": string,
    "parallel_tool_calls": boolean,
    "previous_response_id": string,
    "store": boolean,
    "stream": boolean,
    "temperature": number,
    "text": mapping,
    "top_logprobs": integer,
    "top_p": number,
    "user": string,
    "metadata": mapping,
    "request_id": string,
    "stop": one_or_many_strings,
    "stop_token_ids": integers,
    "ignore_eos": boolean,
    "include_stop_str_in_output": boolean,
    "enable_response_messages": boolean,
    "kv_transfer_params": mapping,
}
_REPEATED: Final[Mapping[str, Any]] = {
    "instructions": None,
    "metadata": None,
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "background": False,
    "max_tool_calls": None,
    "previous_response_id": None,
    "reasoning": None,
    "service_tier": "auto",
    "text": None,
    "truncation": "disabled",
    "user": None,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""What a response repeats of its request, and what it says where that is silent."""
_TOOL: Final = ("allowed_callers", "async", "defer_loading", "description", "output_schema")

Said = Callable[[str], tuple[Messages, list[str]] | None]
"""The conversation that led to a response, and its texts; None of one that is not kept."""


def not_found(response_id: str) -> ApiError:
    """There is no such response here."""
    text = f"Response with id '{response_id}' not found."
    return api_error(404, text, "invalid_request_error", "response_id")


def read(said: Said, data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /v1/responses body; raises ApiError."""
    if "input" not in data:
        raise schema_error([problem("missing", "body.input", "Field required", {**data, "tool_choice": None})])
    stores = data.get("store") is not False
    if data.get("background") and not stores:
        raise while_read(bad_value("background can only be used when `store` is true", "background"))
    if wrong := wrong_input(data["input"], "body.input"):
        raise schema_error(wrong)
    validation.check(data, FIELDS)
    check_model(data, settings)
    previous = data.get("previous_response_id")
    kept = None if previous is None else said(previous)
    if previous is not None and kept is None:
        raise not_found(previous)
    messages = messages_of(data, *(kept or ((), [])))
    prompts = (chat_prompt(messages, settings),)
    wanted = data.get("max_output_tokens")
    limits = output_limits(prompts, None if wanted is None else int(wanted), "max_output_tokens", settings)
    top = alternatives(data, "top_logprobs") if _LOGPROBS in (data.get("include") or ()) else None
    repeated = _repeated(data)
    repeatable(repeated)
    asked = {name: data.get(name) for name in ("n", "min_tokens", "stream_options")}
    return Generation(
        prompts=prompts,
        max_tokens=limits,
        id_prefix="",
        id_suffix="_0",
        logprobs=top,
        keeps_ids=bool(data.get("enable_response_messages")),
        repeats={
            **repeated,
            "max_output_tokens": limits[0],
            "store": stores,
            "messages": messages,
            "shows_messages": bool(data.get("enable_response_messages")),
        },
        **sampling({**data, **dict.fromkeys(asked)}, limits),
        **by_settings({**data, "prompt_logprobs": None, "echo": None}, settings),
    )


def _repeated(data: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: data[name] if data.get(name) is not None else default for name, default in _REPEATED.items()}
    for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
        found[name] = float(found[name])
    if not found["tools"]:
        found["tool_choice"] = "none"
    found["tools"] = [_tool(tool) for tool in found["tools"]]
    return found


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A function with all that it might have; others as they came."""
    if tool.get("type") != "function":
        return dict(tool)
    named = {"name": tool.get("name"), "parameters": tool.get("parameters"), "strict": tool.get("strict")}
    return {**named, "type": "function", **{name: tool.get(name) for name in _TOOL}}
