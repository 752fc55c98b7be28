"""`/v1/realtime`: a WebSocket is placed on one rank, which answers its handshake, and is a tunnel from then on.

vLLM's clients name their model in an event, OpenAI's in the query. No event is looked into here, so where there are
several pools the query has to say it.
"""

from __future__ import annotations

from functools import partial

from gateway import websocket, wire
from gateway.access import RequestRecord
from gateway.admission import admit
from gateway.client_http.switched import Offer
from gateway.errors import (
    AmbiguousModelError,
    ForeignPageError,
    GatewayError,
    InvalidRequestError,
    NotServedError,
    NoWebSocketError,
)
from gateway.gateway import Gateway
from gateway.life import answer_until_gone
from gateway.pins import pinned
from gateway.placing import Pool
from gateway.query import value_of
from gateway.realtime_session import RealtimeSession
from gateway.request import Arrival, Head, Request
from gateway.routes import Route
from gateway.serving import Serving
from gateway.shape import shape_of_audio


class Realtime:
    """Serves the requests of one route."""

    def __init__(self, gateway: Gateway, route: Route) -> None:
        self._gateway = gateway
        self._route = route

    async def serve(self, arrival: Arrival) -> None:
        """Serve one request. Raises whatever its client is to be told, and ClientGoneError."""
        client = arrival.reply.client
        if client is None:
            raise NotServedError(f"{arrival.head.path} is not served here: the server lends nobody its connections")
        offer = client.offer
        if offer is None:
            raise _fault_of(arrival.head)
        if not websocket.lets_in(self._gateway.settings.cors_origin, arrival.head.headers):
            raise ForeignPageError("Web pages of this origin may not connect")
        await answer_until_gone(arrival, partial(self._answer, arrival, offer))

    async def _answer(self, arrival: Arrival, offer: Offer) -> None:
        model = value_of(arrival.head.query, "model")
        pool = await self._pool_for(model, arrival.record)
        arrival.record.pool = pool.name
        # Nobody knows how long it will be spoken; this is what such a model takes at once.
        shape = shape_of_audio(None, self._route.learned_as, self._gateway.estimator(pool))
        shape = pinned(shape, arrival.rank, pool)
        _, _, record, reply, explain, receipt_for, _ = arrival
        read = wire.without_fields(model)
        request = Request(self._route, arrival.head, b"", read, None, record, reply, explain, receipt_for)
        session = partial(RealtimeSession, self._gateway, pool, request, offer)
        with await admit(self._gateway, pool, arrival, self._route, shape):
            await Serving(self._gateway, pool, request, session).run(shape)
        if not reply.complete:
            await reply.end()

    async def _pool_for(self, model: str | None, record: RequestRecord) -> Pool:
        try:
            return await self._gateway.pool_for(model, record)
        except AmbiguousModelError as error:
            where = f"Name it in the URL, {self._route.path}?model=…: it decides where the connection goes"
            raise AmbiguousModelError(f"{error.message} {where}.", param="model") from error


def _fault_of(head: Head) -> GatewayError:
    """What is wrong with a request that offers no WebSocket, or not well."""
    if websocket.is_asked_for(head.headers) and websocket.has_body(head.headers):
        return InvalidRequestError("A request that offers a WebSocket has no body")
    return NoWebSocketError(f"{head.path} is a WebSocket: the request must offer one, in HTTP/1.1")
