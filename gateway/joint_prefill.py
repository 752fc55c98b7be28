"""The prefill leg of a pair whose legs start at once: its answer is awaited for how it ended."""

from __future__ import annotations

import time
from http import HTTPStatus

import msgspec

from gateway import joint_answer
from gateway.connectors.connector import Together
from gateway.dialects.apis import dialect_of
from gateway.dispatch import Dispatch
from gateway.edits import as_it_came, edited
from gateway.errors import GatewayError, RankFailedError
from gateway.headers import Headers, for_client
from gateway.phases import Phases
from gateway.placed_pair import PlacedPair
from gateway.prefill_leg import ANSWER_BYTES
from gateway.relay import read_whole
from gateway.upstream import RankAnswer
from scheduler.messages import RankCard


class Prefilled(msgspec.Struct, frozen=True):
    """The prompt is computed and its KV on its way; `cached_tokens` of it the rank had, None where it does not say."""

    cached_tokens: int | None


class Refused(msgspec.Struct, frozen=True):
    """The rank refuses the request, in words that are for the client."""

    status: int
    headers: Headers
    body: bytes


class Broken(msgspec.Struct, frozen=True):
    """There will be no KV."""

    error: GatewayError


PrefillEnd = Prefilled | Refused | Broken


class JointPrefill:
    """One prefill; made once, run once."""

    def __init__(self, placed: PlacedPair, dispatch: Dispatch, connector: Together) -> None:
        self._gateway = placed.gateway
        self._pool = placed.pool
        self._request = placed.request
        self._phases: Phases = placed.phases
        self._dispatch = dispatch
        self._connector = connector

    async def run(self, card: RankCard, body: bytes) -> Prefilled | Refused:
        """Have the rank prefill. Cancelled, it is aborted there. Raises GatewayError where there will be no KV."""
        began_s = time.monotonic()
        sent = self._phases.dispatched
        async with self._dispatch.send(card, body, sent, bears_stalls=lambda: False) as answer:
            whole = await read_whole(answer, ANSWER_BYTES)
            if HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                shown = edited(whole, as_it_came(dialect_of(self._request.api)), streamed=False)
                return Refused(answer.status, for_client(answer.headers), shown)
            if answer.status != HTTPStatus.OK:
                raise RankFailedError(f"The prefill rank answered with status {answer.status}")
            cached_tokens = self._cached_tokens(answer, whole, card)
        self._phases.prefill_done()
        self._gateway.metrics.pairs.prefill.labels(self._pool.name).observe(time.monotonic() - began_s)
        return Prefilled(cached_tokens)

    def _cached_tokens(self, answer: RankAnswer, whole: bytes, card: RankCard) -> int | None:
        if answer.is_event_stream:
            return joint_answer.cached_tokens_of_events(whole)
        sent_ids = self._request.asked.token_ids if self._request.asked else 0
        needs_length = self._connector.needs_length
        read = joint_answer.read(whole, self._request.api, sent_ids=sent_ids, needs_length=needs_length)
        if self._connector.is_of_another_life(read.fields, card):
            raise RankFailedError("The prefill rank has begun another life, and the decode rank waits for the last one")
        return read.cached_tokens
