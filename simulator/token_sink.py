"""Who waits for the tokens of a sequence, as its engine sees it."""

from __future__ import annotations

from typing import Any, Protocol

from simulator.api_errors import ApiError
from simulator.step import Finish


class TokenSink(Protocol):
    """Takes the tokens of one sequence."""

    def begin(self, cached_tokens: int, created_tokens: int) -> None:
        """The first token comes; so many tokens of the prompt were cached or pulled, and so many are cached now."""

    def push(self, token: int, finish: Finish | None, stop_token: int | None) -> bool:
        """Take one token; True asks to end the sequence here, since its text holds a stop string."""

    def offer(self, params: dict[str, Any]) -> None:
        """Before the last token: the kv_transfer_params of the KV that is kept."""

    def flush(self) -> None:
        """Called once per wake after the tokens."""

    def fail(self, error: ApiError) -> None:
        """The sequence will not be completed."""

    def abort(self) -> None:
        """The sequence ends here, and the engine with it."""

    def cut(self) -> None:
        """The sequence ends here, by the will of whoever runs the rank."""
