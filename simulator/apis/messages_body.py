"""The bytes of /v1/messages answers, as vLLM 0.32 writes them. Nobody captured a stream that fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from simulator.answer_body import AnswerBody, Stamp
from simulator.api_errors import ApiError
from simulator.apis.messages import refusal
from simulator.choice import Choice
from simulator.generation import Generation
from simulator.usage import Usage

_encode = msgspec.json.encode


class MessagesBody(AnswerBody):
    """Writes one message. In a stream its text is a content block, which begins with the first text there is."""

    def __init__(self, generation: Generation, stamp: Stamp) -> None:
        self._generation = generation
        self._stamp = stamp
        self._in_block = False

    def first(self, choice: Choice) -> Sequence[bytes]:
        """The start of the message."""
        message: dict[str, Any] = {
            "id": self._stamp.answer_id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": self._stamp.model,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": len(choice.prompt.ids), "output_tokens": 0},
        }
        return (_event("message_start", message=message),)

    def delta(self, choice: Choice, text: str, ids: list[int]) -> Sequence[bytes]:
        """A piece of its text."""
        del choice, ids
        if not text:
            return ()
        event = _event("content_block_delta", delta={"type": "text_delta", "text": text}, index=0)
        if self._in_block:
            return (event,)
        self._in_block = True
        return _event("content_block_start", content_block={"type": "text", "text": ""}, index=0), event

    def ending(self, choices: list[Choice], usage: Usage) -> Sequence[bytes]:
        """The end of the block, how the message stopped and what it cost, and its end."""
        reason, sequence = _stop_of(choices[0])
        stop = {"stop_reason": reason, "stop_sequence": sequence}
        events = (_event("message_delta", delta=stop, usage=self._usage(usage)), _event("message_stop"))
        return (_event("content_block_stop", index=0), *events) if self._in_block else events

    def failure(self, error: ApiError) -> Sequence[bytes]:
        """An error that came too late for a status."""
        message = json.loads(error.body)["error"]["message"]
        return (_event("error", error={"type": "internal_error", "message": message}),)

    def refused(self, error: ApiError) -> bytes:
        """The error in Anthropic's shape."""
        return refusal(error).body

    def whole(self, choices: list[Choice], usage: Usage) -> bytes:
        """The message; what is not there is left out."""
        choice = choices[0]
        reason, sequence = _stop_of(choice)
        message = {
            "id": self._stamp.answer_id,
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": choice.text.take(finished=True)}],
            "model": self._stamp.model,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": self._usage(usage),
            "kv_transfer_params": choice.kv_transfer_params,
        }
        return _encode({name: value for name, value in message.items() if value is not None})

    def _usage(self, usage: Usage) -> dict[str, int]:
        """What was cached, before or since, is no input where it is told."""
        counted = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
        if not self._generation.shows_cached:
            return counted
        known = usage.cached_tokens + usage.created_tokens
        return {
            **counted,
            "input_tokens": max(0, usage.prompt_tokens - known),
            "cache_creation_input_tokens": usage.created_tokens,
            "cache_read_input_tokens": usage.cached_tokens,
        }


def _stop_of(choice: Choice) -> tuple[str | None, str | None]:
    """The reason, and the sequence if that was it. An aborted message has none."""
    if choice.finish_reason == "length":
        return "max_tokens", None
    if choice.finish_reason != "stop":
        return None, None
    if isinstance(choice.stop_reason, str):
        return "stop_sequence", choice.stop_reason
    return "end_turn", None


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **fields}))
