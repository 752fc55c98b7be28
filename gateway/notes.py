"""What is written down of one placement: the record, the metrics, the receipt, and the client's x-forebay-* headers."""

from __future__ import annotations

import logging

import msgspec

from gateway.access import RequestRecord
from gateway.errors import GatewayError
from gateway.gateway import Gateway
from gateway.headers import OWN_PREFIX
from gateway.placing import Pool
from gateway.reply import Reply
from gateway.request import Request
from scheduler.decision import LegKind, Place
from scheduler.messages import RankCard

log = logging.getLogger(__name__)


def show_ranks(reply: Reply, record: RequestRecord, gateway: str) -> None:
    """Have the answer's headers tell its client where the request went, and nothing of where it went before."""
    shown = {b"x-forebay-prefill": record.prefill_rank, b"x-forebay-decode": record.rank, b"x-forebay-gateway": gateway}
    others = (each for each in reply.extra if not each[0].startswith(OWN_PREFIX))
    reply.extra = [*others, *((name, value.encode()) for name, value in shown.items() if value)]


class Notes:
    """The notes of one placement."""

    def __init__(self, gateway: Gateway, pool: Pool, request: Request) -> None:
        self._gateway = gateway
        self._pool = pool
        self._request = request

    def placed(self, place: Place) -> None:
        """A placement was made."""
        record = self._request.record
        *before, last = place.legs
        record.rank = last.card.rank
        record.prefill_rank = before[0].card.rank if before else ""
        for leg in place.legs:
            if leg.kind is not LegKind.DECODE:  # that one is noted when it is bound
                self._gateway.metrics.placements[self._pool.name, leg.card.rank] += 1
        if place.alone:
            self._gateway.metrics.degraded.labels(self._pool.name).inc()
        if self._request.explain:
            self._show_ranks()
            self._log_receipt(place)

    def decodes_on(self, card: RankCard) -> None:
        """The decode leg of a pair goes to this rank."""
        self._request.record.rank = card.rank
        self._gateway.metrics.placements[self._pool.name, card.rank] += 1
        if self._request.explain:
            self._show_ranks()

    def failed(self, error: GatewayError) -> None:
        """A rank did not complete its answer; what it has told of its usage is nobody's."""
        self._request.record.usage = None
        self._gateway.metrics.rank_errors.labels(self._pool.name, type(error).__name__).inc()

    def _show_ranks(self) -> None:
        show_ranks(self._request.reply, self._request.record, self._gateway.name)

    def _log_receipt(self, place: Place) -> None:
        receipt = {
            "event": "receipt",
            "id": self._request.record.id,
            "pool": self._pool.name,
            "prefill_rank": self._request.record.prefill_rank,
            "rank": self._request.record.rank,
            "cost_s": place.cost_s,
            "alone": place.alone,
            "candidates": place.receipt,
        }
        log.info(msgspec.json.encode(receipt).decode())
