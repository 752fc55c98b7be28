"""What has to be known of an API's answers to relay them. Pure.

Most events of a stream are not decoded: `tells` is asked of each of them, so it may cost a few searches for a word.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from gateway.bounds import Limits
from gateway.usage import Usage
from gateway.wire import Fields


class Opening(StrEnum):
    """What a stream has begun with."""

    SILENT = "silent"
    """Nothing yet, or only comments and events without a token: a role, an empty text, a usage."""

    ERROR = "error"
    """An error, and nothing before it."""

    ENDED = "ended"
    """The stream's end, and nothing before it."""

    GOOD = "good"
    """Something for the client."""


class Dialect(Protocol):
    """How one kind of API answers."""

    @property
    def event_limits(self) -> Limits:
        """How much an event may hold that is decoded."""

    @property
    def max_event_bytes(self) -> int:
        """How long an event may be."""

    @property
    def opening_bytes(self) -> int:
        """How much a stream says at most before its first token."""

    def tells(self, events: bytes) -> bool:
        """Whether events may hold something to edit or to judge, a usage, or the stream's end."""

    def tells_edit(self, events: bytes) -> bool:
        """Whether events may hold something to edit or to judge."""

    def tells_whole(self, body: bytes) -> bool:
        """The same of an answer that is not streamed."""

    def ends(self, events: bytes) -> bool:
        """Whether one of these whole events is a stream's last."""

    def opening(self, event: Fields) -> Opening:
        """What an event is where nothing but silence came before."""

    def judge(self, document: Fields, *, own_stop: bool, streamed: bool) -> None:
        """Look at an answer, or an event's data, for what makes it none.

        Raises RankFailedError if the rank aborted it, RecomputedError if it ran out of KV cache and gave the request up
        (not if that is the client's `own_stop`).
        """

    def changes(self, document: Fields, cached_tokens: int) -> Fields:
        """The fields that say how much of the prompt was cached, anew. Raises msgspec.DecodeError."""

    def usage(self, document: bytes) -> Usage | None:
        """The usage in an answer or an event's data; None if there is none that makes sense."""
