"""What the bytes of chat and text completions have in common, as vLLM 0.32 writes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import msgspec

from simulator.choice import Choice
from simulator.generation import Generation


class AnswerBody(ABC):
    """Writes the answer to one request; `kind` and `chunk_kind` are the names of its objects, whole and streamed.

    `usage` is a ready member (`,"usage":{...}`) or empty.
    """

    kind: str
    chunk_kind: str

    def __init__(self, generation: Generation, answer_id: str, created_s: int, model: str, fingerprint: str) -> None:
        self._generation = generation
        self._answer_id, self._created_s, self._model = answer_id, created_s, model
        self._fingerprint = fingerprint
        self._event_head = b"data: " + msgspec.json.encode(self._head(self.chunk_kind))[:-1]
        self._fingerprint_tail = b',"system_fingerprint":' + msgspec.json.encode(fingerprint)

    @abstractmethod
    def first(self, choice: Choice, usage: bytes) -> bytes:
        """What comes before any text of a choice; may be nothing."""

    @abstractmethod
    def delta(self, choice: Choice, text: str, ids: list[int], usage: bytes) -> bytes:
        """One event: the text and ids that came, and the finish if they are the last."""

    @abstractmethod
    def whole(self, choices: list[Choice], usage: dict[str, Any]) -> bytes:
        """The answer that is not streamed."""

    def last(self, usage: bytes) -> bytes:
        """The event with the request's usage."""
        return b"".join((self._event_head, b',"choices":[]', usage, self._fingerprint_tail, b"}\n\n"))

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._answer_id, "object": kind, "created": self._created_s, "model": self._model}
