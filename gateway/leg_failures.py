"""What follows from a leg that failed: noted, its port shunned if it took no connection, and tried anew or told."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.errors import GatewayError, RankTimeoutError, RankUnreachableError, RecomputedError
from gateway.notes import Notes
from gateway.outcome import Failed, Trouble
from gateway.placing import Pool
from gateway.reply import Reply
from gateway.retriable import Again, trouble_of
from gateway.shared_fate import behind_the_port_of, likely_to_fail_with
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
            for rank in behind_the_port_of(card, self._cards()):
                self._pool.shun(rank)
        trouble = trouble_of(kind, error, self._again, answer_begun=self._reply.started)
        if trouble is None:
            raise error
        kv_of = kv_of if trouble is Trouble.DECODE_FAILED else ""
        silent = frozenset({card.rank} if isinstance(error, RankTimeoutError) else ())
        return Failed(trouble, card.rank, error, kv_of, others=self._likely(kind, card, error), silent=silent)

    def _likely(self, kind: LegKind, card: RankCard, error: GatewayError) -> frozenset[str]:
        """Who would fail of the same. A prefill rank to avoid is not taken at all, so none is avoided by a guess."""
        match error:
            case RankUnreachableError():
                return behind_the_port_of(card, self._cards())
            case RecomputedError():
                return frozenset()
            case _ if kind is LegKind.PREFILL:
                return frozenset()
            case _:
                return likely_to_fail_with(card, self._cards())

    def _cards(self) -> Iterable[RankCard]:
        return (rank.card for rank in self._pool.view.ranks.values())
