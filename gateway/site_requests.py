"""A request that what started the gateway answers."""

from __future__ import annotations

from functools import partial

from gateway.gateway import Gateway
from gateway.life import answer_until_gone, read_whole_body
from gateway.request import Arrival
from gateway.site import Site, SiteRequest


class SiteRequests:
    """Serves them within the gateway's limits of size and patience."""

    def __init__(self, gateway: Gateway, site: Site) -> None:
        self._gateway, self._site = gateway, site

    async def serve(self, arrival: Arrival) -> None:
        """Serve one request. Raises whatever its client is to be told, and ClientGoneError."""
        raw = await read_whole_body(self._gateway, arrival)
        await answer_until_gone(arrival, partial(self._answer, arrival, raw))

    async def _answer(self, arrival: Arrival, raw: bytes) -> None:
        answer = await self._site.answer(SiteRequest(arrival.head.path, raw))
        await arrival.reply.whole(answer.status, [(b"content-type", b"application/json")], answer.body)
