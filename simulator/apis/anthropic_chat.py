"""Anthropic's conversation as the chat that vLLM makes of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from simulator.api_errors import Problem, problem, schema_error
from simulator.field_types import boolean, integer, mapping, number, objects, string
from simulator.validation import check

_ROLES: Final = ("user", "assistant", "system")
_FORCED: Final = ("any", "tool")
_BILLING: Final = "x-anthropic-billing-header"
"""A client's header that changes with each request; vLLM leaves it out of the prompt."""


def chat_of(data: Mapping[str, Any], required: Iterable[str]) -> dict[str, Any]:
    """The body of a chat request; raises SchemaError for what vLLM cannot read."""
    missing = [problem("missing", f"body.{name}", "Field required", data) for name in required if name not in data]
    if missing:
        raise schema_error(missing)
    check({name: value for name, value in data.items() if name != "messages"}, _FIELDS)
    if data.get("max_tokens", 1) is None:
        raise schema_error(_limit(None, "body.max_tokens"))
    if wrong := list(_wrong_messages(data["messages"])):
        raise schema_error(wrong)
    chat = {name: data[name] for name in _PASSED if data.get(name) is not None}
    if data.get("stop_sequences"):
        chat["stop"] = data["stop_sequences"]
    if data.get("tools") is not None:
        chat["tools"] = data["tools"]
        kind = (data.get("tool_choice") or {}).get("type", "auto")
        chat["tool_choice"] = "required" if kind in _FORCED else kind
    return {**chat, "messages": [*_system(data.get("system")), *_messages(data["messages"])]}


def _blocks(value: Any, loc: str) -> list[Problem]:
    if isinstance(value, str):
        return []
    if not isinstance(value, list):
        wrong = "Input should be a valid list"
        return [*string(value, f"{loc}.str"), problem("list_type", f"{loc}.list[AnthropicContentBlock]", wrong, value)]
    found: list[Problem] = []
    for at, block in enumerate(value):
        place = f"{loc}.list[AnthropicContentBlock].{at}"
        if not isinstance(block, dict):
            found += mapping(block, place)
        elif not isinstance(block.get("type"), str):
            found.append(problem("missing", f"{place}.type", "Field required", block))
        elif block.get("text") is not None:
            found += string(block["text"], f"{place}.text")
    return found


def _strings(value: Any, loc: str) -> list[Problem]:
    if not isinstance(value, list):
        return [problem("list_type", loc, "Input should be a valid list", value)]
    return [found for at, item in enumerate(value) for found in string(item, f"{loc}.{at}")]


def _limit(value: Any, loc: str) -> list[Problem]:
    if wrong := integer(value, loc):
        return wrong
    text = "max_tokens must be positive"
    return [] if value > 0 else [problem("value_error", loc, f"Value error, {text}", value, error=ValueError(text))]


_FIELDS: Final = {
    "model": string,
    "max_tokens": _limit,
    "system": _blocks,
    "stop_sequences": _strings,
    "stream": boolean,
    "temperature": number,
    "top_p": number,
    "tools": objects,
    "tool_choice": mapping,
    "kv_transfer_params": mapping,
}
_PASSED: Final = ("model", "max_tokens", "stream", "temperature", "top_p", "kv_transfer_params")


def _wrong_messages(value: Any) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield problem("list_type", "body.messages", "Input should be a valid list", value)
        return
    for at, message in enumerate(value):
        loc = f"body.messages.{at}"
        if not isinstance(message, dict):
            yield from mapping(message, loc)
            continue
        if message.get("role") not in _ROLES:
            expected = "'user', 'assistant' or 'system'"
            text = f"Input should be {expected}"
            yield problem("literal_error", f"{loc}.role", text, message.get("role"), expected=expected)
        if "content" not in message:
            yield problem("missing", f"{loc}.content", "Field required", message)
        else:
            yield from _blocks(message["content"], f"{loc}.content")


def _system(value: str | list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    text = _text(value or "")
    return [{"role": "system", "content": text}] if text else []


def _text(value: str | list[dict[str, Any]]) -> str:
    texts = [value] if isinstance(value, str) else [block.get("text") or "" for block in value]
    return "".join(text for text in texts if not text.startswith(_BILLING))


def _messages(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        role, content = message["role"], message["content"]
        if role == "system":
            yield from _system(content)
        elif isinstance(content, str):
            yield {"role": role, "content": content}
        else:
            yield from _of_blocks(role, content)


def _of_blocks(role: str, blocks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A message's blocks: what tools answered comes before it, as messages of their own."""
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        kind = block["type"]
        if kind == "text" and block.get("text"):
            parts.append({"type": "text", "text": block["text"]})
        elif kind == "image":
            parts.append({"type": "image_url"})
        elif kind == "tool_use":
            arguments = json.dumps(block.get("input") or {})
            function = {"name": block.get("name") or "", "arguments": arguments}
            calls.append({"id": block.get("id"), "type": "function", "function": function})
        elif kind == "tool_result":
            yield {"role": "tool", "content": _result(block.get("content"))}
    if role == "assistant" or parts:
        yield {"role": role, "content": parts or None} | ({"tool_calls": calls} if calls else {})


def _result(content: Any) -> str:
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    texts = [item.get("text") for item in content if isinstance(item, dict) and item.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))
