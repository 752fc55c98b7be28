"""What a gateway of the simulation asks to have a request placed, whatever the rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from simulator.cluster.request import SimRequest


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request goes: `prefill_rank` and `decode_rank` are the same where one rank does both.

    `number` is the placer's own name for it. So many tokens of the prompt are believed to be in the cache where it is
    prefilled.
    """

    number: int
    prefill_rank: str
    decode_rank: str
    believed_cached_tokens: int = 0

    @property
    def is_pair(self) -> bool:
        """Whether two ranks serve it."""
        return self.prefill_rank != self.decode_rank


class Placer(Protocol):
    """One gateway's; it is told how each request gets on, as the gateway sees it."""

    def place(self, request: SimRequest, take: Callable[[Placed | None], None]) -> None:
        """Decides where a request goes; `take` gets it, at once or later, None where no rank can take it."""

    def dispatched(self, placed: Placed) -> None:
        """The request is on its way to its first rank."""

    def prefill_done(self, placed: Placed, take: Callable[[str], None]) -> None:
        """The prefill of a pair is done; `take` gets the decode rank to go on with."""

    def first_token(self, placed: Placed) -> None:
        """The first token is here."""

    def done(self, placed: Placed, request: SimRequest) -> None:
        """The last token is here."""
