"""A request whose body is JSON, or that has none: read it, and serve it from one pool."""

from __future__ import annotations

from functools import partial

import anyio
import msgspec

from gateway import bounds, headers, prompt, response_id, transfer_params, wire
from gateway.access import RequestRecord
from gateway.accounting import accounted
from gateway.admission import admit
from gateway.asked_usage import asking
from gateway.gateway import Gateway
from gateway.kept_responses import unknown
from gateway.life import answer_until_gone, read_whole_body
from gateway.pair_apis import may_be_paired
from gateway.pins import pinned
from gateway.placing import Pool
from gateway.prompt import Prompt
from gateway.query import value_of
from gateway.request import Arrival, Request
from gateway.routes import Kind, Route
from gateway.serving import Serving
from gateway.shape import NO_LOAD, answers_of, shape_of, shape_of_texts
from gateway.wire import Api, Body
from scheduler.decision import RequestShape

TURN_S = 0.001
"""A pause of no length would let only those go on who are ready already, and no socket be read."""


class JsonRequest:
    """Serves the requests of one route."""

    def __init__(self, gateway: Gateway, route: Route) -> None:
        self._gateway = gateway
        self._route = route

    async def serve(self, arrival: Arrival) -> None:
        """Serve one request. Raises whatever its client is to be told, and ClientGoneError."""
        if self._route.method == "POST":
            headers.require_json(arrival.head.headers)
        raw = await read_whole_body(self._gateway, arrival)
        await answer_until_gone(arrival, partial(self._answer, arrival, raw))

    async def _answer(self, arrival: Arrival, raw: bytes) -> None:
        body = await self._read(arrival, raw)
        asked = self._prompt_of(body)
        pool = await self._gateway.pool_for(body.model, arrival.record)
        arrival.record.pool = pool.name
        shape = await self._bound(self._shape_of(pool, body, asked), pool, body, arrival.record)
        content = body.forward if self._route.kind is Kind.PAIRABLE else transfer_params.of_client(body.forward)
        shape = pinned(shape, arrival.rank, pool)
        _, _, record, reply, explain, receipt_for, _ = arrival
        request = Request(self._route, arrival.head, content, body, asked, record, reply, explain, receipt_for)
        admission = await admit(self._gateway, pool, arrival, self._route, shape)
        with accounted(self._gateway, record, 0 if asked is None else shape.prompt_tokens), admission:
            usage = await Serving(self._gateway, pool, request).run(shape)
        metrics = self._gateway.metrics
        if usage is not None and asked is not None and self._route.kind.generates:
            metrics.estimate_ratio.labels(pool.name).observe(shape.prompt_tokens / max(1, usage.prompt_tokens))
            self._gateway.learn(pool, self._route.learned_as, asked, usage, answers=answers_of(body, asked))

    async def _read(self, arrival: Arrival, raw: bytes) -> Body:
        if self._route.method != "POST":
            return wire.without_fields(value_of(arrival.head.query, "model"))
        bounds.check(raw)
        if len(raw) > bounds.REQUEST.small_bytes:
            # Counting and decoding may take a tenth of a second each: everybody else gets a turn in between.
            await anyio.sleep(TURN_S)
        api = self._route.api or Api.CHAT
        if api is Api.GENERATE:
            raw = transfer_params.of_client(raw)  # vLLM looks for them inside of `sampling_params` too
        body = wire.read(raw, api)
        return asking(body) if self._route.tells_usage_if_asked else body

    async def _bound(self, shape: RequestShape, pool: Pool, body: Body, record: RequestRecord) -> RequestShape:
        """The shape, on the rank that keeps the response from which the request goes on."""
        previous = response_id.previous_of(body.fields) if self._route.api is Api.RESPONSES else None
        if previous is None:
            return shape
        home, card = await self._gateway.kept.find(previous, record)
        if home.name != pool.name:
            raise unknown(previous)
        return msgspec.structs.replace(shape, only_on=card.rank)

    def _prompt_of(self, body: Body) -> Prompt | None:
        if not body.readable or self._route.kind is Kind.COUNTING:
            return None
        return prompt.read(self._route.api, body.fields) if self._route.api else prompt.read_any(body.fields)

    def _shape_of(self, pool: Pool, body: Body, asked: Prompt | None) -> RequestShape:
        if asked is None:
            return NO_LOAD
        estimator = self._gateway.estimator(pool)
        if self._route.kind.generates:
            shape = shape_of(self._route, body, asked, estimator)
            if shape.pairable and self._route.api and not self._may_be_paired(self._route.api, pool):
                shape = msgspec.structs.replace(shape, pairable=False)
            return shape
        return shape_of_texts(asked, estimator)

    def _may_be_paired(self, api: Api, pool: Pool) -> bool:
        return may_be_paired(api, (rank.card for rank in pool.view.ranks.values()))
