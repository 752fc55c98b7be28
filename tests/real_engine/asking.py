"""The requests that the checks send, and what two answers must have in common."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
PATHS = (CHAT, COMPLETIONS)
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}

WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon"

OWN = re.compile(rb'"id":"[^"]*"|"created":\d+')
"""What differs between two answers to the same request."""


def text_of_words(words: int, seed: int) -> str:
    """Text of so many words, some five tokens each; another seed begins differently, so it shares no KV block."""
    names = WORDS.split()
    return " ".join([str(seed), *(f"{names[(index * 7 + seed) % 20]}{index * seed % 97}" for index in range(words))])


def asked(path: str, model: str, text: str, **more: Any) -> dict[str, Any]:
    """A greedy request for 16 tokens after `text`; `more` adds fields or replaces them."""
    prompt: dict[str, Any] = {"messages": [{"role": "user", "content": text}]} if path == CHAT else {"prompt": text}
    return {"model": model, "temperature": 0, "max_tokens": 16, "ignore_eos": True} | prompt | more


def without_own(body: bytes) -> bytes:
    """An answer without its id and its time."""
    return OWN.sub(b"", body)


class Said(msgspec.Struct, frozen=True):
    """What an answer says, streamed or not: how its tokens were cut into chunks is not in it."""

    text: str
    finish_reason: str
    usage: dict[str, Any] | None
    errors: tuple[str, ...] = ()
    is_complete: bool = True


def said(body: bytes) -> Said:
    """Reads an answer; raises if it is none."""
    if not body.startswith(b"data: "):
        whole = json.loads(body)
        (choice,) = whole["choices"]
        return Said(_text(choice), choice["finish_reason"], _numbers(whole["usage"]))
    events = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    return Said(
        text="".join(map(_text, choices)),
        finish_reason=next((choice["finish_reason"] for choice in choices if choice["finish_reason"]), ""),
        usage=next((_numbers(chunk["usage"]) for chunk in chunks if chunk.get("usage")), None),
        errors=tuple(str(chunk["error"]["message"]) for chunk in chunks if "error" in chunk),
        is_complete=events[-1] == "[DONE]",
    )


def _text(choice: dict[str, Any]) -> str:
    if "text" in choice:
        return str(choice["text"])
    return str(choice.get("message", choice.get("delta", {})).get("content") or "")


def _numbers(usage: dict[str, Any]) -> dict[str, Any]:
    """A stream's usage leaves out what is null."""
    return {name: value for name, value in usage.items() if isinstance(value, int)}
