"""What is said in a conversation of /v1/messages or /v1/responses, in order, that of an object by its keys. Pure.

Their messages, tool calls and results are nested in many ways, so every text in them counts that is not known to be
something else: a kind, an id, a signature. What may be a picture, a sound or a file is not text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from gateway.wire import NULL, Api, Fields

NOT_SAID = frozenset(
    (
        "type", "role", "id", "status", "call_id", "tool_use_id", "item_id", "signature", "encrypted_content",
        "cache_control", "annotations", "logprobs", "phase", "detail",
    )
)  # fmt: skip
MEDIA = frozenset(("source", "data", "url", "image_url", "file_data", "file_url", "file_id", "input_audio"))


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None


TEXT_DECODER = msgspec.json.Decoder(str | list[dict[str, Any]] | None)
MESSAGES_DECODER = msgspec.json.Decoder(list[_Message])
INPUT_DECODER = msgspec.json.Decoder(str | list[dict[str, Any]])
SAID_IN: Mapping[Api, tuple[tuple[str, msgspec.json.Decoder[Any]], ...]] = MappingProxyType(
    {
        Api.MESSAGES: (("system", TEXT_DECODER), ("messages", MESSAGES_DECODER)),
        Api.RESPONSES: (
            ("instructions", TEXT_DECODER),
            ("previous_input_messages", TEXT_DECODER),
            ("input", INPUT_DECODER),
        ),
    }
)
"""The fields of the conversation, as a chat template puts them one after the other. The last one has to be there."""


class Mark(msgspec.Struct, frozen=True):
    """What stands in a conversation and is no text of it: a role, or a picture's JSON."""

    sign: bytes


def said(api: Api, fields: Fields) -> Iterator[str | Mark]:
    """All that is said; roles stand before what they say. Raises msgspec.DecodeError."""
    for name, decoder in SAID_IN[api]:
        yield from _said(decoder.decode(fields.get(name, NULL)))


def _said(value: Any) -> Iterator[str | Mark]:
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str | Mark):
            yield value
        elif isinstance(value, list):
            left.extend(reversed(value))
        elif isinstance(value, _Message):
            left.extend((value.content, Mark(value.role.encode())))
        elif isinstance(value, dict):
            for name in sorted(value, reverse=True):
                if name in MEDIA:
                    left.append(Mark(msgspec.json.encode(value[name], order="sorted")))
                elif name not in NOT_SAID:
                    left.append(value[name])
            if isinstance(role := value.get("role"), str):
                left.append(Mark(role.encode()))
