"""How far one reservation has come, as its pool is told."""

from __future__ import annotations

import asyncio

from gateway.placing import Pool
from scheduler.messages import Phase

DECODE_BEGINS_S = 1.0
"""An answer of a pair that is not streamed does not show when the KV has come. From when the decode rank can have it,
it takes milliseconds, the first time seconds.
"""


class Phases:
    """The phases of one reservation while one attempt has it; to be ended with `end`."""

    def __init__(self, pool: Pool, reservation: int) -> None:
        self._pool = pool
        self._reservation = reservation
        self._has_first_token = self._is_over = False
        self._timer: asyncio.TimerHandle | None = None

    def dispatched(self) -> None:
        """The request's first rank has it."""
        if not self._is_over:
            self._pool.advance(self._reservation, Phase.DISPATCHED)

    def decode_waits(self) -> None:
        """The decode rank of a pair has the request, and waits for its prefill, which is not done."""
        if not self._is_over and not self._has_first_token:
            self._pool.decode_waits(self._reservation)

    def prefill_done(self) -> None:
        """The prefill rank of a pair is done with it, and the decode rank stays; needless once the answer has begun."""
        if not self._is_over and not self._has_first_token:
            self._pool.advance(self._reservation, Phase.PREFILL_DONE)

    def first_token(self) -> None:
        """The answer has begun; said once, however often it is called."""
        if not self._has_first_token:
            self._has_first_token = True
            self._pool.advance(self._reservation, Phase.FIRST_TOKEN)

    def first_token_in(self, seconds: float) -> None:
        """The answer shows no first token; this is when it is expected."""
        if not self._is_over:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.first_token)

    def end(self) -> None:
        """The attempt is over: nothing more is said of the reservation."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
