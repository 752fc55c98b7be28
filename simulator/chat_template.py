"""The simulated chat template: messages to token ids. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from simulator.tokens import END, SPECIALS, encode

_MARKER: Final = {
    role: SPECIALS.index(f"<|{role}|>") for role in ("system", "developer", "user", "assistant", "tool", "function")
}
_OTHER_ROLE: Final = SPECIALS.index("<|role|>")


def render(messages: Iterable[Mapping[str, Any]]) -> list[int]:
    """The prompt's ids: per message its role's marker, its text and the end marker; then the assistant's marker.

    A role without a marker of its own is spelt out behind a common one. Text parts are joined by newlines, and an
    assistant's tool calls follow its text as JSON. Raises UnicodeEncodeError for lone surrogates.
    """
    ids: list[int] = []
    for message in messages:
        role = message["role"]
        marker = _MARKER.get(role)
        ids += [marker] if marker is not None else [_OTHER_ROLE, *encode(role), _OTHER_ROLE]
        ids += encode(_text(message))
        ids.append(END)
    ids.append(_MARKER["assistant"])
    return ids


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(part.get("text") or "" for part in content)
    text = content or ""
    if calls := message.get("tool_calls"):
        text += msgspec.json.encode(calls).decode()
    return text
