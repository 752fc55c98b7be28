"""What follows from a leg that failed: noted, its rank shunned if it took no connection, and tried anew or told."""

from __future__ import annotations

from gateway.errors import GatewayError, RankUnreachableError
from gateway.notes import Notes
from gateway.outcome import Failed, Trouble, trouble_of
from gateway.placing import Pool
from gateway.reply import Reply
from gateway.retriable import Again
from scheduler.decision import LegKind
from scheduler.messages import RankCard


class LegFailures:
    """The failures of one attempt's legs."""

    def __init__(self, pool: Pool, reply: Reply, notes: Notes, again: Again) -> None:
        self._pool = pool
        self._again = again
        self._reply = reply
        self._notes = notes

    def outcome(self, kind: LegKind, card: RankCard, error: GatewayError, *, kv_of: str = "") -> Failed:
        """How the attempt ended by this error of a leg; `kv_of` is the prefill rank whose KV a decode rank was given.

        Raises the error where the client is to hear of it.
        """
        self._notes.failed(error)
        if isinstance(error, RankUnreachableError):
            self._pool.shun(card.rank)
        trouble = trouble_of(kind, error, self._again, answer_begun=self._reply.started)
        if trouble is None:
            raise error
        return Failed(trouble, card.rank, error, kv_of if trouble is Trouble.DECODE_FAILED else "")
