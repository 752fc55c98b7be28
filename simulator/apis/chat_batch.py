"""/v1/chat/completions/batch: several conversations in one request, answered whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from simulator.api_errors import bad_value, problem, schema_error, while_read
from simulator.apis import chat
from simulator.apis.chat_body import ChatBody
from simulator.generation import Generation
from simulator.settings import RankSettings
from simulator.usage import Usage


def read(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A body with a list of conversations; raises ApiError. vLLM does not stream these, whatever is asked."""
    conversations = data.get("messages")
    if not isinstance(conversations, list) or not conversations:
        raise schema_error([problem("list_type", "body.messages", "Input should be a valid list", conversations)])
    if (n := data.get("n")) not in (None, 1):
        raise while_read(bad_value("Batch chat completions do not support `n > 1`. Please set `n` to 1.", "n", n))
    alone = {name: value for name, value in data.items() if name not in ("stream", "stream_options", "messages")}
    asked = [chat.read({**alone, "messages": messages}, settings) for messages in conversations]
    return msgspec.structs.replace(
        asked[0],
        prompts=tuple(prompt for each in asked for prompt in each.prompts),
        max_tokens=tuple(limit for each in asked for limit in each.max_tokens),
        id_suffix="_{}",
    )


class ChatBatchBody(ChatBody):
    """Writes the answers as choices of one; their usage has no details."""

    def total(self, usage: Usage) -> dict[str, Any]:
        """The tokens in all."""
        return usage.shown()
