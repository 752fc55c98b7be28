"""One choice of an answer: its text so far and how it ended.

`generated` counts all its tokens, `pending` those not yet sent; `sent` says that its last event is out.
"""

from __future__ import annotations

from collections.abc import Callable

from simulator.detokenizer import TextStream
from simulator.generation import Generation
from simulator.prompt import Prompt


class Choice:
    """Takes the tokens of one sequence; its answer takes the text, when `on_flush` tells it to."""

    __slots__ = (
        "begun", "finish_reason", "generated", "ids", "index", "keeps_ids", "min_tokens", "offset", "on_flush",
        "pending", "prompt", "sent", "stop_reason", "text",
    )  # fmt: skip

    def __init__(self, on_flush: Callable[[Choice], None], index: int, prompt: Prompt, generation: Generation) -> None:
        self.on_flush = on_flush
        self.index = index
        self.prompt = prompt
        self.min_tokens = generation.min_tokens
        self.keeps_ids = generation.return_token_ids or generation.logprobs is not None
        self.text = TextStream(generation.stop, include_stop=generation.include_stop)
        self.ids: list[int] = []
        self.generated = 0
        self.pending = 0
        self.offset = 0
        self.finish_reason: str | None = None
        self.stop_reason: str | int | None = None
        self.begun = False
        self.sent = False

    def push(self, token: int, finish: str | None, stop_token: int | None) -> bool:
        """Take one token; True asks to end the sequence here, since its text holds a stop string."""
        self.generated += 1
        self.pending += 1
        if self.keeps_ids:
            self.ids.append(token)
        stopped = self.text.push(token, may_stop=self.generated >= self.min_tokens)
        if stopped:
            self.finish_reason, self.stop_reason = "stop", self.text.stopped_by
        elif finish is not None:
            self.finish_reason, self.stop_reason = finish, stop_token
        return stopped

    def flush(self) -> None:
        """The wake's tokens are all here."""
        self.on_flush(self)
