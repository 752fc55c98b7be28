"""Frees KV that a prefill rank holds for a decode rank which will not come for it."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.connectors.connector import Handover
from gateway.connectors.kv_hosts import found_by
from gateway.dispatch import Dispatch
from gateway.errors import GatewayError
from gateway.gateway import Gateway
from gateway.leg_bodies import freeing_body
from gateway.placing import Pool, RankView
from gateway.request import Request
from scheduler.messages import RankCard, RankState, Role

REFUSALS = frozenset({400, 404})
"""Of a rank that has read the body; a 401 comes before that."""

COMPLETIONS = "/v1/completions"
FREE_WITHIN_S = 2.0
"""After that the lease's own end is not far."""


def who_frees(ranks: Mapping[str, RankView], prefill: RankCard, *, rather: str, failed: str) -> RankCard | None:
    """The decode rank that is to tell a prefill rank: `rather` this one, never the one that `failed`."""
    able = [
        rank.card
        for rank in ranks.values()
        if rank.card.role is Role.DECODE
        and rank.card.pair_class == prefill.pair_class
        and rank.card.rank != failed
        and rank.state is RankState.UP
    ]
    return min(able, key=lambda card: (card.rank != rather, card.rank), default=None)


class Freeing:
    """One prefill to be freed. It outlives the request it was made for."""

    def __init__(self, gateway: Gateway, pool: Pool, request: Request) -> None:
        self._gateway = gateway
        self._pool = pool
        self._request = request

    def start(self, handover: Handover, prefill: RankCard, *, rather: str, failed: str) -> None:
        """Have a decode rank tell the prefill rank, if that holds anything; returns at once."""
        if handover.params is None:
            return
        decode = who_frees(self._pool.view.ranks, prefill, rather=rather, failed=failed)
        if decode is None:
            self._count(freed=False)
            return
        card, params = decode, found_by(decode, prefill, handover.params, handover.hosts)

        async def free() -> None:
            # Whatever the request's own API: not all of vLLM's free KV when they refuse a request.
            head = self._request.head._replace(path=COMPLETIONS, query="")
            dispatch = Dispatch(self._gateway, self._pool, head)
            body = freeing_body(params, dispatch.attempt_id)
            freed = False
            try:
                async with dispatch.send(card, body, _nothing) as answer:
                    freed = answer.status in REFUSALS
            except GatewayError:
                freed = False  # the lease's end will free it
            finally:
                self._count(freed=freed)

        self._gateway.errands.run(free, f"free a prefill of {prefill.rank}", FREE_WITHIN_S)

    def _count(self, *, freed: bool) -> None:
        self._gateway.metrics.pairs.freed.labels(self._pool.name, str(freed).lower()).inc()


def _nothing() -> None:
    """Nobody waits to hear that it was sent."""
