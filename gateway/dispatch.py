"""One leg's request to its rank."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from uuid import uuid4

from gateway.gateway import Gateway
from gateway.headers import for_rank
from gateway.placing import Pool
from gateway.request import Request
from gateway.upstream import RankAnswer
from gateway.wire import Api
from scheduler.messages import RankCard

PATHS: Mapping[Api, str] = MappingProxyType({Api.CHAT: "/v1/chat/completions", Api.COMPLETIONS: "/v1/completions"})


class Dispatch:
    """Sends the legs of one attempt, all under one id of their own."""

    def __init__(self, gateway: Gateway, pool: Pool, request: Request) -> None:
        self._gateway = gateway
        self._pool = pool
        self._request = request
        self.attempt_id = uuid4().hex

    @asynccontextmanager
    async def post(
        self, card: RankCard, body: bytes, on_sent: Callable[[], None], *, bears_stalls: bool = True
    ) -> AsyncGenerator[RankAnswer, None]:
        """Send a body to a rank, as `Upstream.request` does. Raises RankFailedError too when the rank is lost.

        And when it stalls, unless the leg `bears_stalls`.
        """
        headers = for_rank(
            self._request.headers,
            attempt_id=self.attempt_id,
            local_index=card.local_index,
            hold_authorization=self._gateway.keys.holds_any,
            rank_key=self._gateway.settings.rank_api_key,
        )
        url = card.endpoint + PATHS[self._request.api]
        with self._gateway.lost_ranks.watch(self._pool, card, bears_stalls=bears_stalls) as watched:
            async with self._gateway.upstream.request("POST", url, headers, body, on_sent) as answer:
                watched.answers(answer)
                yield answer
