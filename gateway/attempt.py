"""One attempt at one rank: send the request, relay the answer, advance the reservation, release it."""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus
from uuid import uuid4

import msgspec

from gateway.access import RequestRecord
from gateway.errors import RankFailedError, RankTimeoutError, RankUnreachableError
from gateway.gateway import Gateway
from gateway.headers import Headers, for_rank
from gateway.placing import Pool
from gateway.relay import relay
from gateway.reply import Reply
from gateway.usage import Usage
from gateway.wire import Api, Body
from scheduler.decision import Leg, LegKind, Place
from scheduler.messages import Phase

log = logging.getLogger(__name__)

PATHS = {Api.CHAT: "/v1/chat/completions", Api.COMPLETIONS: "/v1/completions"}


class Attempt:
    """One try to serve a placed request; made once, run once. `run` owns the reservation from its first line on."""

    def __init__(self, gateway: Gateway, pool: Pool, place: Place, record: RequestRecord, reply: Reply) -> None:
        self._gateway = gateway
        self._pool = pool
        self._place = place
        self._record = record
        self._reply = reply
        self._shows_first_token = True
        self._has_first_token = False
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, api: Api, client_headers: Headers, body: Body, *, explain: bool) -> Usage | None:
        """Send the body to the rank of the placement's last leg, relay its answer and return the usage in it, if any.

        `explain` adds the x-forebay-* headers and logs a receipt. Raises RankUnreachableError (and has the pool shun
        the rank), RankFailedError, RankTimeoutError, TooManyConnectionsError, ClientGoneError. The reservation is
        released whatever happens.
        """
        try:
            # The decode rank of a pair can serve alone.
            leg = self._place.legs[-1]
            self._note(leg)
            if explain:
                self._explain(leg)
            return await self._dispatch(leg, api, client_headers, body)
        except RankUnreachableError as error:
            self._pool.shun(self._place.legs[-1].card.rank)
            self._gateway.metrics.rank_errors.labels(self._pool.name, type(error).__name__).inc()
            raise
        except (RankFailedError, RankTimeoutError) as error:
            self._gateway.metrics.rank_errors.labels(self._pool.name, type(error).__name__).inc()
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._pool.release(self._place.reservation)

    async def _dispatch(self, leg: Leg, api: Api, client_headers: Headers, body: Body) -> Usage | None:
        self._record.attempt_id = uuid4().hex
        rank_headers = for_rank(
            client_headers,
            attempt_id=self._record.attempt_id,
            local_index=leg.card.local_index,
            hold_authorization=self._gateway.keys.holds_any,
            rank_key=self._gateway.settings.rank_api_key,
        )
        url = leg.card.endpoint + PATHS[api]
        self._shows_first_token = body.streamed
        async with self._gateway.upstream.post(url, rank_headers, body.forward, self._on_sent) as answer:
            usage = await relay(answer, self._reply, tap_usage=body.usage_streamed, on_first_token=self._on_first_token)
        if answer.status == HTTPStatus.OK:
            self._advance_to_first_token()
        self._gateway.metrics.e2e.labels(self._pool.name).observe(time.monotonic() - self._record.started_s)
        return usage

    def _on_sent(self) -> None:
        self._pool.advance(self._place.reservation, Phase.DISPATCHED)
        if not self._shows_first_token:
            # Else it would weigh as a queued prompt until its last token.
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._place.first_token_s, self._advance_to_first_token)

    def _advance_to_first_token(self) -> None:
        if not self._has_first_token:
            self._has_first_token = True
            self._pool.advance(self._place.reservation, Phase.FIRST_TOKEN)

    def _on_first_token(self) -> None:
        self._advance_to_first_token()
        self._record.first_token_s = time.monotonic()
        ttft_s = self._record.first_token_s - self._record.started_s
        self._gateway.metrics.ttft.labels(self._pool.name).observe(ttft_s)

    def _note(self, leg: Leg) -> None:
        self._record.rank = leg.card.rank
        self._gateway.metrics.placements[self._pool.name, leg.card.rank] += 1
        if self._place.alone:
            self._gateway.metrics.degraded.labels(self._pool.name).inc()

    def _explain(self, leg: Leg) -> None:
        name = b"x-forebay-prefill" if leg.kind is LegKind.PREFILL else b"x-forebay-decode"
        self._reply.extra.append((name, leg.card.rank.encode()))
        self._reply.extra.append((b"x-forebay-gateway", self._gateway.name.encode()))
        receipt = {
            "event": "receipt",
            "id": self._record.id,
            "pool": self._pool.name,
            "rank": leg.card.rank,
            "cost_s": self._place.cost_s,
            "alone": self._place.alone,
            "candidates": self._place.receipt,
        }
        log.info(msgspec.json.encode(receipt).decode())
