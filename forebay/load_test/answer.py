"""One streamed answer as it comes: which of its events carry text, and when they came. Sans-IO."""

from __future__ import annotations

from array import array
from typing import Any

import msgspec

from gateway.usage import Tokens

DONE = b"[DONE]"


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: Any = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Tokens = 0
    completion_tokens: Tokens | None = None


class _Event(msgspec.Struct):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(_Event)


class Answer:
    """Times are of one monotonic clock, in seconds. `first_s` and `last_s`: of the events with text."""

    def __init__(self) -> None:
        self.first_s = 0.0
        self.last_s = 0.0
        self.texts = 0
        self.gaps_s = array("d")
        self.prompt_tokens = 0
        self.completion_tokens: int | None = None
        self.error = ""
        self.is_done = False
        self._rest = b""

    def feed(self, body: bytes, now_s: float) -> None:
        """The next piece of the body."""
        if b"\r" in body:
            body = body.replace(b"\r", b"")
        *events, self._rest = (self._rest + body).split(b"\n\n")
        for event in events:
            for line in event.split(b"\n"):
                if line.startswith(b"data:"):
                    self._read(line[5:].strip(), now_s)

    @property
    def output_tokens(self) -> int:
        """As the server counts them, or else the events with text."""
        return self.texts if self.completion_tokens is None else self.completion_tokens

    def _read(self, data: bytes, now_s: float) -> None:
        if data == DONE:
            self.is_done = True
            return
        try:
            event = _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.error = self.error or "an event that is no JSON of a completion"
            return
        if event.error is not None:
            self.error = self.error or "an error event"
        if event.usage is not None:
            self.prompt_tokens = event.usage.prompt_tokens
            self.completion_tokens = event.usage.completion_tokens
        if any(map(_has_text, event.choices)):
            if self.texts:
                self.gaps_s.append(now_s - self.last_s)
            else:
                self.first_s = now_s
            self.texts += 1
            self.last_s = now_s


def _has_text(choice: _Choice) -> bool:
    delta = choice.delta
    if delta is None:
        return bool(choice.text)
    return bool(delta.content or delta.reasoning or delta.reasoning_content or delta.tool_calls)
