"""What one attempt at a rank says of it: the word that feeds its breaker.

Badly went what took no connection, was reset, was silent for too long, is no HTTP or no answer that can be used, and
every 5xx but 501, which is a rank's way to say that it does not serve the path. Well went any other answer that is
whole, or a stream that has begun. Of an attempt whose client left before, or that failed for no fault of the rank,
nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from gateway.errors import RankFailedError, RankTimeoutError, RankUnreachableError
from gateway.placing import Pool
from gateway.upstream import RankAnswer, RankTunnel
from scheduler.messages import RankCard

_FAULTS = (RankUnreachableError, RankFailedError, RankTimeoutError)


class LegWord:
    """The word of one attempt. A stream that began well may still break: then that is said, too."""

    def __init__(self, pool: Pool, card: RankCard) -> None:
        self._pool, self._card = pool, card
        self._said: set[bool] = set()

    def answers(self, answer: RankAnswer) -> None:
        """The head of the rank's answer is there."""
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and answer.status != HTTPStatus.NOT_IMPLEMENTED:
            self.badly()
        elif isinstance(answer, RankTunnel):
            self.well()
        elif answer.is_event_stream:
            answer.on_begun = self.well

    def well(self) -> None:
        """It answers; said once, and not of one that failed."""
        if not self._said:
            self._say(well=True)

    def badly(self) -> None:
        """It failed; said once."""
        if False not in self._said:
            self._say(well=False)

    def _say(self, *, well: bool) -> None:
        self._said.add(well)
        self._pool.heard(self._card, well)


@contextmanager
def word_of(pool: Pool, card: RankCard) -> Iterator[LegWord]:
    """An attempt at a rank, from its connection to the end of its answer."""
    word = LegWord(pool, card)
    try:
        yield word
    except _FAULTS:
        word.badly()
        raise
    word.well()
