"""A request that every rank gets, or the one it names, and one answer made of theirs.

It is placed nowhere: what it changes is a rank's, not the ledger's. Ranks that share a port get it once.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import anyio

from gateway import fan_out_answer
from gateway.access import RequestRecord
from gateway.dispatch import Dispatch
from gateway.errors import (
    AmbiguousModelError,
    GatewayError,
    InvalidRequestError,
    NoRankError,
    RankTimeoutError,
    quoted,
)
from gateway.fan_out_answer import Said
from gateway.gateway import RETRY_AFTER_MS, Gateway
from gateway.leg_word import Tells
from gateway.life import answer_until_gone, read_whole_body
from gateway.pins import PARAM
from gateway.placing import Pool
from gateway.query import value_of, without
from gateway.relay import read_whole
from gateway.request import Arrival, Head
from scheduler.messages import RankCard
from scheduler.named_rank import Fault

ALL_POOLS = "*"

AT_ONCE = 16
"""How many ranks are asked at a time."""

WITHIN_S = 120.0
"""How long all of it may take: loading an adapter or waking a rank takes seconds, a minute at worst."""

SAID_BYTES = 65_536
"""How much of what one rank says is read; an engine answers such requests with a line."""

Target = tuple[Pool, list[RankCard]]
"""A pool, and its ranks behind one endpoint."""


class FanOut:
    """Serves the requests of such a route."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def serve(self, arrival: Arrival) -> None:
        """Serve one request. Raises whatever its client is to be told, and ClientGoneError."""
        raw = await read_whole_body(self._gateway, arrival)
        await answer_until_gone(arrival, partial(self._answer, arrival, raw))

    async def _answer(self, arrival: Arrival, raw: bytes) -> None:
        head = arrival.head
        pools = await self._pools_for(value_of(head.query, "pool"), arrival.record)
        if len(pools) == 1:
            arrival.record.pool = pools[0].name
        targets = _named(arrival.rank, _targets(pools)) if arrival.rank else _targets(pools)
        said = await self._ask_all(head._replace(query=without(head.query, "pool")), targets, raw)
        if not said:
            raise NoRankError("There is no rank to ask", retry_after_ms=RETRY_AFTER_MS)
        content_type = (b"content-type", b"application/json")
        await arrival.reply.whole(fan_out_answer.status_of(said), [content_type], fan_out_answer.body_of(said))

    async def _pools_for(self, name: str | None, record: RequestRecord) -> list[Pool]:
        """Raises AmbiguousModelError, UnknownModelError, NoRankError."""
        if name != ALL_POOLS:
            try:
                return [await self._gateway.pool_for(name, record)]
            except AmbiguousModelError as error:
                known = ", ".join(sorted(self._gateway.pools.names()))
                message = f"`?pool=` is required; it may be `{ALL_POOLS}` for all, or one of: {known}."
                raise AmbiguousModelError(message, param="pool") from error
        await self._gateway.readiness.of_pools(record)
        pools = map(self._gateway.pools.get, sorted(self._gateway.pools.names()))
        return [pool for pool in pools if pool is not None]

    async def _ask_all(self, head: Head, targets: Iterable[Target], raw: bytes) -> list[Said]:
        said: dict[tuple[str, str], Said] = {}
        limiter = anyio.CapacityLimiter(AT_ONCE)

        async def ask(pool: Pool, cards: list[RankCard]) -> None:
            late = RankTimeoutError(f"The rank was not done within the {WITHIN_S:g} s that all have together")
            for card in cards:
                said[pool.name, card.rank] = fan_out_answer.failed(pool.name, card.rank, late)
            async with limiter:
                answer = await self._ask(head, pool, cards[0], raw)
            for card in cards:
                said[pool.name, card.rank] = answer._replace(rank=card.rank)

        with anyio.move_on_after(WITHIN_S):
            async with anyio.create_task_group() as group:
                for pool, cards in targets:
                    group.start_soon(ask, pool, cards, name=f"ask {cards[0].endpoint}")
        return [said[key] for key in sorted(said)]

    async def _ask(self, head: Head, pool: Pool, card: RankCard, raw: bytes) -> Said:
        try:
            dispatch = Dispatch(self._gateway, pool, head)
            async with dispatch.send(card, raw, _nothing, tells=Tells.NOTHING) as answer:
                body = await read_whole(answer, SAID_BYTES)
                return fan_out_answer.said(pool.name, card.rank, answer.status, body)
        except GatewayError as error:
            return fan_out_answer.failed(pool.name, card.rank, error)


def _targets(pools: Iterable[Pool]) -> list[Target]:
    by_endpoint: dict[tuple[str, str], Target] = {}
    for pool in pools:
        for rank in pool.view.ranks.values():
            by_endpoint.setdefault((pool.name, rank.card.endpoint), (pool, []))[1].append(rank.card)
    return list(by_endpoint.values())


def _named(rank: str, targets: Iterable[Target]) -> list[Target]:
    """Those of the rank that the request names (pins.py). Raises InvalidRequestError where there is none."""
    found = [(pool, cards) for pool, cards in targets if any(card.rank == rank for card in cards)]
    if not found:
        raise InvalidRequestError(f"Rank {quoted(rank)} {Fault.UNKNOWN.value}", param=PARAM)
    return found


def _nothing() -> None:
    """Nobody waits to hear that it was sent."""
