"""What the bytes of chat and text completions have in common, as vLLM 0.32 writes them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from simulator.answer_body import AnswerBody, Stamp
from simulator.api_errors import ApiError, as_event
from simulator.choice import Choice
from simulator.generation import Generation
from simulator.usage import Usage, without_nulls

DONE: Final = b"data: [DONE]\n\n"


class ChoicesBody(AnswerBody):
    """Writes the answer to one request; `kind` and `chunk_kind` are the names of its objects, whole and streamed."""

    kind: str
    chunk_kind: str

    def __init__(self, generation: Generation, stamp: Stamp) -> None:
        self._generation = generation
        self._stamp = stamp
        self._event_head = b"data: " + msgspec.json.encode(self._head(self.chunk_kind))[:-1]
        self._fingerprint_tail = b',"system_fingerprint":' + msgspec.json.encode(stamp.fingerprint)

    @abstractmethod
    def usage_details(self, usage: Usage) -> dict[str, Any]:
        """What the usage says of the prompt."""

    def ending(self, choices: list[Choice], usage: Usage) -> Sequence[bytes]:
        """The request's usage, if it is wanted, and the end."""
        del choices
        if not self._generation.include_usage:
            return (DONE,)
        member = b',"usage":' + msgspec.json.encode(without_nulls(self.total(usage)))
        return b"".join((self._event_head, b',"choices":[]', member, self._fingerprint_tail, b"}\n\n")), DONE

    def failure(self, error: ApiError) -> Sequence[bytes]:
        """The error, and the end."""
        return as_event(error), DONE

    def _head(self, kind: str) -> dict[str, Any]:
        stamp = self._stamp
        return {"id": stamp.answer_id, "object": kind, "created": stamp.created_s, "model": stamp.model}

    def total(self, usage: Usage) -> dict[str, Any]:
        """The usage of the whole request."""
        return usage.shown(self.usage_details(usage) if self._generation.shows_cached else None)

    def _so_far(self, choice: Choice, generated: int) -> bytes:
        """The usage as a member of an event, where every event is to have it."""
        if not self._generation.continuous_usage:
            return b""
        prompt = len(choice.prompt.ids)
        return b',"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d}' % (
            prompt,
            prompt + generated,
            generated,
        )
