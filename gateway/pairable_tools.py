"""Whose tools a request has, and whether it has to use one. Pure.

A tool that the server runs makes it prompt itself with the result, on the rank where it runs. Of a call that is forced
a prefill rank would write one token, which is no JSON: on /v1/messages vLLM 0.32 refuses its own answer for that.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from gateway.wire import NULL, Fields

OF_CLIENT = frozenset(("function", "custom", "namespace"))
"""The types of tools that the client runs; all others of the Responses API may be the server's."""

FREE = frozenset(("auto", "none"))


class _Tool(msgspec.Struct):
    type: str = ""


class _Choice(msgspec.Struct):
    type: str = ""


TOOLS_DECODER = msgspec.json.Decoder(list[_Tool] | None)
CHOICE_DECODER = msgspec.json.Decoder(str | _Choice | None)


def are_the_clients(fields: Fields) -> bool:
    """Whether the client runs all the tools itself."""
    try:
        return all(tool.type in OF_CLIENT for tool in TOOLS_DECODER.decode(_given(fields, "tools")) or ())
    except msgspec.DecodeError:
        return False


def are_forced(fields: Fields) -> bool:
    """Whether an answer has to be a call."""
    try:
        choice = CHOICE_DECODER.decode(_given(fields, "tool_choice"))
    except msgspec.DecodeError:
        return True
    return choice is not None and (choice if isinstance(choice, str) else choice.type) not in FREE


def _given(fields: Fields, name: str) -> Raw:
    return fields.get(name, NULL)
