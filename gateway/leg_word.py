"""What one attempt at a rank says of it: the word that feeds its breaker.

Badly went what took no connection, was reset, was silent for too long, is no HTTP or no answer that can be used, and
every 5xx but 501, which is a rank's way to say that it does not serve the path. Well went an answer that is whole, or a
stream that has its first token. Nothing is said of what a rank refuses: its API server may do so though its engine is
dead; of an attempt whose client left before, or that failed for no fault of the rank; and of a WebSocket on which
nobody speaks.
"""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus
from types import TracebackType
from typing import Self

from gateway.errors import RankFailedError, RankTimeoutError, RankUnreachableError
from gateway.placing import Pool
from gateway.upstream import RankAnswer, RankTunnel
from scheduler.messages import RankCard

_FAULTS = (RankUnreachableError, RankFailedError, RankTimeoutError)


class Tells(StrEnum):
    """What an attempt may say of its rank."""

    ALL = "how it went"
    FAULTS = "that it went badly"
    """An answer is its API server's own, and shows nothing of its engine."""

    NOTHING = "nothing"


class LegWord:
    """The word of one attempt, of the request with this `reservation` if it was placed.

    Use it as a context, from its connection to the end of its answer. A stream that began well may still break: then
    that is said, too.
    """

    def __init__(self, pool: Pool, card: RankCard, reservation: int | None, tells: Tells = Tells.ALL) -> None:
        self._pool, self._card, self._reservation, self._tells = pool, card, reservation, tells
        self._said: set[bool] = set()
        self._is_tunnel = False

    def __enter__(self) -> Self:
        """Nothing is said yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Of one that was cancelled, or failed for no fault of the rank, nothing is said; nor of a WebSocket that
        fell silent, as its client may have.
        """
        if error is None:
            self.well()
        elif isinstance(error, _FAULTS) and not (self._is_tunnel and isinstance(error, RankTimeoutError)):
            self.badly()

    def answers(self, answer: RankAnswer) -> None:
        """The head of the rank's answer is there."""
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and answer.status != HTTPStatus.NOT_IMPLEMENTED:
            self.badly()
        elif answer.status >= HTTPStatus.BAD_REQUEST and self._tells is Tells.ALL:
            self._tells = Tells.FAULTS
        elif isinstance(answer, RankTunnel):
            self._is_tunnel = True
            self.well()
        elif answer.is_event_stream:
            answer.on_first_token = self.well

    def well(self) -> None:
        """It answers; said once, and not of one that failed."""
        if not self._said and self._tells is Tells.ALL:
            self._say(well=True)

    def badly(self) -> None:
        """It failed; said once."""
        if False not in self._said and self._tells is not Tells.NOTHING:
            self._say(well=False)

    def _say(self, *, well: bool) -> None:
        self._said.add(well)
        self._pool.heard(self._card, well, self._reservation)
