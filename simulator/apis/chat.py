"""What a /v1/chat/completions request asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from simulator import validation
from simulator.api_errors import bad_request, problem, schema_error, while_read
from simulator.generation import (
    Generation,
    alternatives,
    by_settings,
    check_model,
    check_stream_options,
    sampling,
)
from simulator.prompt import Prompt, chat_prompt, forwarded_prompt, output_limits
from simulator.settings import RankSettings
from simulator.transfer_params import forwarded_ids

_JSON_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")


def read(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /v1/chat/completions body; raises ApiError."""
    if "messages" not in data:
        raise schema_error([problem("missing", "body.messages", "Field required", data)])
    if data["messages"] is None:
        raise while_read(bad_request("'NoneType' object is not iterable"))
    validation.check(data, validation.CHAT)
    check_stream_options(data)
    if data.get("tools") and data.get("tool_choice", "auto") == "auto":
        raise bad_request('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')
    check_model(data, settings)
    _check_grammar(data.get("response_format"))
    prompts = (_chat_prompt(data, settings),)
    limit = "max_completion_tokens" if data.get("max_completion_tokens") is not None else "max_tokens"
    wanted = data.get(limit)
    top = alternatives(data, "top_logprobs")
    limits = output_limits(prompts, None if wanted is None else int(wanted), limit, settings)
    return Generation(
        id_prefix="chatcmpl-",
        prompts=prompts,
        max_tokens=limits,
        logprobs=top if data.get("logprobs") else None,
        **sampling(data, limits),
        **by_settings(data, settings),
    )


def _chat_prompt(data: Mapping[str, Any], settings: RankSettings) -> Prompt:
    """The ids that came with the params, else the conversation; with `echo` or other parts than text the latter."""
    ids = forwarded_ids(data)
    if ids is None or data.get("echo") or _has_media(data["messages"]):
        return chat_prompt(data["messages"], settings)
    return forwarded_prompt(ids)


def _has_media(messages: list[dict[str, Any]]) -> bool:
    contents = [message.get("content") for message in messages]
    return any(part["type"] != "text" for content in contents if isinstance(content, list) for part in content)


def _check_grammar(response_format: dict[str, Any] | None) -> None:
    """Refuse a JSON schema whose type is none; otherwise structured output is asked for in vain."""
    schema = ((response_format or {}).get("json_schema") or {}).get("schema") or {}
    kind = schema.get("type")
    if isinstance(kind, str) and kind not in _JSON_TYPES:
        raise bad_request(f"Grammar error: Invalid type: {kind}")
