"""The bytes of /v1/responses answers, key for key as vLLM 0.32 writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import uuid4

import msgspec

from simulator import logprobs, tokens
from simulator.answer_body import AnswerBody, Stamp
from simulator.api_errors import ApiError
from simulator.choice import Choice
from simulator.generation import Generation
from simulator.usage import Usage

_encode = msgspec.json.encode

Keep = Callable[[dict[str, Any], Sequence[dict[str, Any]]], None]
"""Takes a response that is to be kept, and the conversation that led to it."""

_ITEM: Final = {"role": "assistant", "status": "in_progress", "type": "message", "phase": None}


class ResponsesBody(AnswerBody):
    """Writes one response, and has it kept when it is complete; one in the background as soon as it is admitted."""

    def __init__(self, keep: Keep, generation: Generation, stamp: Stamp) -> None:
        self._keep = keep
        self._generation = generation
        self._stamp = stamp
        self._item_id = f"msg_{uuid4().hex[:16]}"
        self._number = 0
        self._text = ""
        self._ids: list[int] = []
        self._in_item = False
        if generation.repeats["background"]:
            self._kept(self._response("queued"))

    def opening(self) -> Sequence[bytes]:
        """The response is created, and in progress."""
        response = self._response("in_progress")
        return tuple(self._event(f"response.{kind}", response=response) for kind in ("created", "in_progress"))

    def delta(self, choice: Choice, text: str, ids: list[int]) -> Sequence[bytes]:
        """A piece of the text; its item and part begin with the first one."""
        del choice
        self._ids += ids
        if not text:
            return ()
        begun = () if self._in_item else self._item_begun()
        self._in_item = True
        self._text += text
        place = {"item_id": self._item_id, "logprobs": self._logprobs(ids) or [], "output_index": 0}
        return *begun, self._event("response.output_text.delta", content_index=0, delta=text, **place)

    def ending(self, choices: list[Choice], usage: Usage) -> Sequence[bytes]:
        """The ends of text, part and item, and of the whole response."""
        ended = self._item_ended() if self._in_item else ()
        response = self._completed(choices[0], usage, has_item=self._in_item)
        return *ended, self._event("response.completed", response=response)

    def failure(self, error: ApiError) -> Sequence[bytes]:
        """vLLM breaks such a stream off."""
        del error
        return ()

    def whole(self, choices: list[Choice], usage: Usage) -> bytes:
        """The response."""
        self._text = choices[0].text.take(finished=True)
        self._ids = choices[0].ids
        return _encode(self._completed(choices[0], usage, has_item=True))

    def _item_begun(self) -> Sequence[bytes]:
        item: dict[str, Any] = {"id": self._item_id, "content": [], **_ITEM}
        part = {"annotations": [], "text": "", "type": "output_text", "logprobs": []}
        return (
            self._event("response.output_item.added", item=item, output_index=0),
            self._event(
                "response.content_part.added", content_index=0, item_id=self._item_id, output_index=0, part=part
            ),
        )

    def _item_ended(self) -> Sequence[bytes]:
        place = {"content_index": 0, "item_id": self._item_id}
        text = {**place, "logprobs": [], "output_index": 0, "text": self._text}
        return (
            self._event("response.output_text.done", **text),
            self._event("response.content_part.done", **place, output_index=0, part=self._part()),
            self._event("response.output_item.done", item=self._item(), output_index=0),
        )

    def _completed(self, choice: Choice, usage: Usage, *, has_item: bool) -> dict[str, Any]:
        response = self._response(
            "incomplete" if choice.finish_reason == "length" else "completed",
            output=[self._item()] if has_item else [],
            usage=_usage(usage),
            kv_transfer_params=choice.kv_transfer_params,
            **(self._messages(choice) if self._generation.repeats["shows_messages"] else {}),
        )
        self._kept(response)
        return response

    def _kept(self, response: dict[str, Any]) -> None:
        if self._generation.repeats["store"]:
            self._keep(response, self._generation.repeats["messages"])

    def _item(self) -> dict[str, Any]:
        content = [self._part()] if self._text else []
        return {"id": self._item_id, "content": content, **_ITEM, "status": "completed"}

    def _part(self) -> dict[str, Any]:
        return {
            "annotations": [],
            "text": self._text,
            "type": "output_text",
            "logprobs": None if self._generation.stream else self._logprobs(self._ids),
        }

    def _logprobs(self, ids: list[int]) -> list[dict[str, Any]] | None:
        top = self._generation.logprobs
        if top is None:
            return None
        found = logprobs.chat_logprobs(ids, top)["content"]
        return [_in_order(entry) | {"top_logprobs": list(map(_in_order, entry["top_logprobs"]))} for entry in found]

    def _messages(self, choice: Choice) -> dict[str, Any]:
        prompt = choice.prompt.ids
        answer = [{"message": self._text, "tokens": self._ids, "type": "raw_message_tokens"}]
        return {
            "input_messages": [{"message": tokens.decode(prompt), "tokens": prompt, "type": "raw_message_tokens"}],
            "output_messages": answer if self._ids else [],
        }

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = {**fields, "sequence_number": self._number, "type": kind}
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode(dict(sorted(data.items()))))

    def _response(self, status: str, output: list[dict[str, Any]] | None = None, **known: Any) -> dict[str, Any]:
        asked, repeats = self._generation, self._generation.repeats
        before = ("parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p", "background")
        return {
            "id": self._stamp.answer_id,
            "created_at": self._stamp.created_s,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": repeats["instructions"],
            "metadata": repeats["metadata"],
            "model": self._stamp.model,
            "object": "response",
            "output": output or [],
            **{name: repeats[name] for name in (*before, "max_output_tokens", "max_tool_calls")},
            "previous_response_id": repeats["previous_response_id"],
            "prompt": None,
            "reasoning": repeats["reasoning"],
            "service_tier": repeats["service_tier"],
            "status": status,
            "text": repeats["text"],
            "top_logprobs": asked.logprobs,
            "truncation": repeats["truncation"],
            "usage": known.get("usage"),
            **{name: repeats[name] for name in ("user", "presence_penalty", "frequency_penalty")},
            "kv_transfer_params": known.get("kv_transfer_params"),
            "ec_transfer_params": None,
            "input_messages": known.get("input_messages"),
            "output_messages": known.get("output_messages"),
        }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.created_tokens,
            "input_tokens_per_turn": [],
            "cached_tokens_per_turn": [],
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {
            "reasoning_tokens": 0,
            "tool_output_tokens": 0,
            "output_tokens_per_turn": [],
            "tool_output_tokens_per_turn": [],
        },
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _in_order(entry: dict[str, Any]) -> dict[str, Any]:
    return {"token": entry["token"], "bytes": entry["bytes"], "logprob": entry["logprob"]}
