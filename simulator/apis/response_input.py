"""The input of a /v1/responses request as the chat that vLLM makes of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from simulator.api_errors import Problem, problem
from simulator.field_types import mapping, string

_TEXTS: Final = ("input_text", "output_text", "text")
_CALLS: Final = ("function_call", "custom_tool_call")
_RESULTS: Final = ("function_call_output", "custom_tool_call_output")

Messages = Sequence[Mapping[str, Any]]


def wrong_input(value: Any, loc: str) -> list[Problem]:
    """What is wrong with an input: it is a text, or items that are objects."""
    if isinstance(value, str):
        return string(value, loc)
    if not isinstance(value, list):
        wrong = problem("list_type", loc, "Input should be a valid list", value)
        return [problem("string_type", loc, "Input should be a valid string", value), wrong]
    return [found for at, item in enumerate(value) for found in _wrong_item(item, f"{loc}.{at}")]


def _wrong_item(item: Any, loc: str) -> list[Problem]:
    if not isinstance(item, dict):
        return mapping(item, loc)
    found = [wrong for name in ("role", "type") if item.get(name) is not None for wrong in string(item[name], loc)]
    if (item.get("type") or "message") == "message" and not isinstance(item.get("role"), str):
        found.append(problem("missing", f"{loc}.role", "Field required", item))
    content = item.get("content")
    if isinstance(content, list):
        for part in content:
            text = part.get("text") if isinstance(part, dict) else None
            found += mapping(part, loc) if text is None else string(text, f"{loc}.content")
    elif content is not None:
        found += string(content, f"{loc}.content")
    return found


def messages_of(data: Mapping[str, Any], before: Messages, said: Sequence[str]) -> list[dict[str, Any]]:
    """The conversation: instructions, what was asked and said before without its instructions, and the new input."""
    instructions = data.get("instructions")
    found = [{"role": "system", "content": instructions}] if instructions else []
    found += [dict(message) for message in before if message["role"] != "system"]
    found += [{"role": "assistant", "content": text} for text in said]
    asked = data["input"]
    return found + ([{"role": "user", "content": asked}] if isinstance(asked, str) else list(_of_items(asked)))


def _of_items(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One message per item. vLLM puts an assistant's successive calls into one, which reads the same here."""
    for item in items:
        kind = item.get("type") or "message"
        if kind in _CALLS:
            function = {"name": item.get("name"), "arguments": item.get("arguments") or item.get("input")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            yield {"role": "assistant", "tool_calls": [call]}
        elif kind in _RESULTS:
            output = item.get("output")
            yield {"role": "tool", "content": output if isinstance(output, str) else None}
        elif kind == "message":
            yield {"role": item["role"], "content": _content(item.get("content"))}


def _content(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return [{"type": "text", "text": part["text"]} if _is_text(part) else {"type": "media"} for part in content]


def _is_text(part: Mapping[str, Any]) -> bool:
    return part.get("type") in _TEXTS and "text" in part
