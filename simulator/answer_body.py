"""What an API makes of the tokens that come: the interface of its answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from simulator.api_errors import ApiError
from simulator.choice import Choice
from simulator.usage import Usage


class Stamp(NamedTuple):
    """What an answer says of itself: its id, when and by which model it was made, and by which server."""

    answer_id: str
    created_s: int
    model: str
    fingerprint: str


class AnswerBody(ABC):
    """Writes the answer to one request, each event as one item. Asked in the order of these methods."""

    def opening(self) -> Sequence[bytes]:
        """The events of a stream before anything is known."""
        return ()

    def first(self, choice: Choice) -> Sequence[bytes]:
        """The events of a choice before its first text; they come with it."""
        del choice
        return ()

    @abstractmethod
    def delta(self, choice: Choice, text: str, ids: list[int]) -> Sequence[bytes]:
        """The events for the text and ids that came, and for the finish if they are the last."""

    @abstractmethod
    def ending(self, choices: list[Choice], usage: Usage) -> Sequence[bytes]:
        """The events that end a stream."""

    @abstractmethod
    def failure(self, error: ApiError) -> Sequence[bytes]:
        """The events that end a stream with an error; none where vLLM breaks it off."""

    def refused(self, error: ApiError) -> bytes:
        """What is answered in place of the whole answer."""
        return error.body

    @abstractmethod
    def whole(self, choices: list[Choice], usage: Usage) -> bytes:
        """The answer that is not streamed."""
