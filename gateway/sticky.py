"""A request about a response: it goes to the rank that has it, and nowhere else.

It reads that rank's memory and costs its engine nothing, so it is placed nowhere, and reaches drained ranks too.
"""

from __future__ import annotations

import re
from functools import partial
from urllib.parse import quote

from gateway.admission import require_model
from gateway.dialects.apis import CHOICES
from gateway.dispatch import Dispatch
from gateway.edits import as_it_came
from gateway.gateway import Gateway
from gateway.intake import read_body
from gateway.kept_responses import unknown
from gateway.leg_word import Tells
from gateway.life import answer_until_gone
from gateway.pins import require_keeper
from gateway.relay import Manner, relay
from gateway.request import Arrival
from gateway.response_id import MAX_BYTES
from gateway.routes import Route
from gateway.usage_reader import UsageReader

PATH = re.compile(r"(/v1/responses/)([^/]+)((?:/cancel)?)")
BODY_BYTES = 65_536
"""No such request has one to speak of."""


class Sticky:
    """Serves the requests of one route."""

    def __init__(self, gateway: Gateway, route: Route) -> None:
        self._gateway = gateway
        self._route = route

    async def serve(self, arrival: Arrival) -> None:
        """Serve one request. Raises whatever its client is to be told, and ClientGoneError."""
        arrival.record.route = self._route.path
        patience = self._gateway.patience
        await read_body(arrival.receive, arrival.head.headers, max_bytes=BODY_BYTES, patience=patience)
        await answer_until_gone(arrival, partial(self._answer, arrival))

    async def _answer(self, arrival: Arrival) -> None:
        await self._gateway.readiness.of_pools(arrival.record)
        asked = PATH.fullmatch(arrival.head.path)
        assert asked is not None, "the route matched"
        before, response, after = asked.groups()
        if len(response.encode()) > MAX_BYTES:
            raise unknown(response)
        pool, card = await self._gateway.kept.find(response, arrival.record)
        require_model(arrival.record.key, pool)
        require_keeper(arrival.rank, card.rank)
        arrival.record.pool, arrival.record.rank = pool.name, card.rank
        passed = [each for each in arrival.head.headers if each[0] != b"content-type"]
        head = arrival.head._replace(path=before + quote(response, safe="") + after, headers=passed)
        dispatch = Dispatch(self._gateway, pool, head)
        arrival.record.attempt_id = dispatch.attempt_id
        # Nothing is judged: that a response was cancelled is what its client asks.
        manner = Manner(UsageReader(), on_first_token=_nothing, edits=as_it_came(CHOICES), of_any_size=True)
        async with dispatch.send(card, b"", _nothing, tells=Tells.FAULTS) as answer:
            await relay(answer, arrival.reply, manner)


def _nothing() -> None:
    """There is no reservation to tell."""
