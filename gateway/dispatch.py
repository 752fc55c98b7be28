"""One leg's request to its rank."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from secrets import token_hex

from gateway import websocket
from gateway.client_body import ClientBody
from gateway.gateway import Gateway
from gateway.headers import Headers, for_rank
from gateway.leg_word import LegWord, Tells
from gateway.lost_ranks import always
from gateway.placing import Pool
from gateway.request import Head
from gateway.upstream import RankAnswer
from scheduler.messages import RankCard


class Dispatch:
    """Sends the legs of one attempt, all under one id of their own.

    `reservation` is that of a request that was placed: how its attempt goes is told the pool as of this one.
    """

    def __init__(self, gateway: Gateway, pool: Pool, head: Head, reservation: int | None = None) -> None:
        self._gateway = gateway
        self._pool = pool
        self._head = head
        self._reservation = reservation
        self.attempt_id = token_hex(16)

    @asynccontextmanager
    async def send(
        self,
        card: RankCard,
        content: bytes | ClientBody,
        on_sent: Callable[[], None],
        *,
        bears_stalls: Callable[[], bool] = always,
        tells: Tells = Tells.ALL,
    ) -> AsyncGenerator[RankAnswer, None]:
        """Send a body to a rank, as `Upstream.request` does. Raises RankFailedError too when the rank is lost.

        And when it stalls, unless the leg `bears_stalls` then. What still comes of a client's body when the rank has
        begun to answer is for nobody. What the attempt `tells` of how it went is told the pool.
        """
        headers = self._headers(card)
        if isinstance(content, ClientBody) and content.declared_bytes is not None:
            headers.append((b"content-length", b"%d" % content.declared_bytes))
        url = card.endpoint + self._head.target
        upstream = self._gateway.upstream
        watch = self._gateway.lost_ranks.watch(self._pool, card, bears_stalls=bears_stalls)
        with LegWord(self._pool, card, self._reservation, tells) as said, watch as watched:
            async with upstream.request(self._head.method, url, headers, content, on_sent) as answer:
                watched.answers(answer)
                said.answers(answer)
                if isinstance(content, ClientBody):
                    content.stop()
                yield answer

    @asynccontextmanager
    async def offer_websocket(
        self, card: RankCard, on_sent: Callable[[], None], *, bears_stalls: Callable[[], bool] = always
    ) -> AsyncGenerator[RankAnswer, None]:
        """Ask a rank to speak WebSocket, as `send` asks; the answer is a RankTunnel if it does."""
        holds_key = self._gateway.keys.holds_any or bool(self._gateway.settings.rank_api_key)
        headers = websocket.for_rank(self._headers(card), hold_key=holds_key)
        url = card.endpoint + self._head.target
        watch = self._gateway.lost_ranks.watch(self._pool, card, bears_stalls=bears_stalls)
        with LegWord(self._pool, card, self._reservation) as said, watch as watched:
            request = self._gateway.upstream.request(self._head.method, url, headers, b"", on_sent, may_switch=True)
            async with request as answer:
                watched.answers(answer)
                said.answers(answer)
                yield answer

    def ran_out_of_time(self, card: RankCard) -> None:
        """Tell the pool that a rank did; to whom the leg was sent that looks as if its client had left."""
        self._pool.heard(card, False, self._reservation)

    def _headers(self, card: RankCard) -> Headers:
        return for_rank(
            self._head.headers,
            attempt_id=self.attempt_id,
            local_index=card.local_index,
            hold_authorization=self._gateway.keys.holds_any,
            rank_key=self._gateway.settings.rank_api_key,
        )
