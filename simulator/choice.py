"""One choice of an answer: its text so far and how it ended.

`generated` counts all its tokens, `pending` those not yet sent, `begun` says that something is out, `sent` that all is.
Of a request for nothing but its prompt the last token stands for its end, and is none.
"""

from __future__ import annotations

from typing import Any, Protocol

from simulator.api_errors import ApiError
from simulator.detokenizer import TextStream
from simulator.generation import Generation
from simulator.prompt import Prompt


class Answering(Protocol):
    """The answer a choice is part of."""

    def flush(self, choice: Choice) -> None:
        """Write what the choice has."""

    def fail(self, error: ApiError) -> None:
        """End with an error."""

    def abort(self, choice: Choice) -> None:
        """The engine has ended."""


class Choice:
    """Takes the tokens of one sequence; its answer takes the text, when it is told to flush."""

    __slots__ = (
        "_answer", "_generates", "begun", "cached_tokens", "created_tokens", "finish_reason", "generated", "ids",
        "index", "keeps_ids", "kv_transfer_params", "min_tokens", "offset", "pending", "prompt", "sent", "stop_reason",
        "text",
    )  # fmt: skip

    def __init__(self, answer: Answering, index: int, prompt: Prompt, generation: Generation) -> None:
        self._answer = answer
        self.index = index
        self.prompt = prompt
        self._generates = generation.generates
        self.min_tokens = generation.min_tokens
        self.keeps_ids = generation.keeps_ids or generation.return_token_ids or generation.logprobs is not None
        self.text = TextStream(generation.stop, include_stop=generation.include_stop, prompt=prompt.ids)
        self.ids: list[int] = []
        self.generated = 0
        self.pending = 0
        self.offset = 0
        self.finish_reason: str | None = None
        self.stop_reason: str | int | None = None
        self.cached_tokens = self.created_tokens = 0
        self.kv_transfer_params: dict[str, Any] | None = None
        self.begun = False
        self.sent = False

    def begin(self, cached_tokens: int, created_tokens: int) -> None:
        """The first token comes; so many tokens of the prompt were cached or pulled, and so many are cached now."""
        self.cached_tokens, self.created_tokens = cached_tokens, created_tokens

    def offer(self, params: dict[str, Any]) -> None:
        """Its KV is kept for another rank."""
        self.kv_transfer_params = params

    def fail(self, error: ApiError) -> None:
        """It will not be completed."""
        self._answer.fail(error)

    def abort(self) -> None:
        """It ends here."""
        self._answer.abort(self)

    def cut(self) -> None:
        """It ends here, and the answer goes on."""
        self.finish_reason = "abort"
        self.pending += 1
        self._answer.flush(self)

    def push(self, token: int, finish: str | None, stop_token: int | None) -> bool:
        """Take one token; True asks to end the sequence here, since its text holds a stop string."""
        self.pending += 1
        if not self._generates:
            self.finish_reason = finish
            return False
        self.generated += 1
        if self.keeps_ids:
            self.ids.append(token)
        stopped = self.text.push(token, may_stop=self.generated > self.min_tokens)
        if stopped:
            self.finish_reason, self.stop_reason = "stop", self.text.stopped_by
        elif finish is not None:
            self.finish_reason, self.stop_reason = finish, stop_token
        return stopped

    def flush(self) -> None:
        """The wake's tokens are all here."""
        self._answer.flush(self)
