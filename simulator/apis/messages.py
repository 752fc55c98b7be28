"""What a request of Anthropic's API asks for: vLLM makes a chat of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from simulator.api_errors import ApiError, SchemaError
from simulator.apis import chat
from simulator.apis.anthropic_chat import chat_of
from simulator.generation import Generation, check_model
from simulator.prompt import chat_prompt
from simulator.settings import RankSettings

_REQUIRED: Final = ("model", "messages", "max_tokens")


def read(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /v1/messages body; raises ApiError."""
    return chat.read(chat_of(data, _REQUIRED), settings)


def count(data: Mapping[str, Any], settings: RankSettings) -> bytes:
    """The answer to a /v1/messages/count_tokens body; raises ApiError."""
    asked = chat_of(data, ("model", "messages"))
    check_model(asked, settings)
    tokens = len(chat_prompt(asked["messages"], settings).ids)
    return msgspec.json.encode({"input_tokens": tokens, "context_management": {"original_input_tokens": tokens}})


def refusal(error: ApiError) -> ApiError:
    """The error in Anthropic's shape, but for those that vLLM finds while it reads the body."""
    if isinstance(error, SchemaError):
        return error
    found = json.loads(error.body).get("error")
    if found is None:
        return error
    shown = {"type": "error", "error": {"type": found["type"], "message": found["message"]}}
    return ApiError(error.status, msgspec.json.encode(shown))
