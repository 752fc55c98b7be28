"""The prefill leg of a pair whose decode rank has called for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from gateway import joint_answer
from gateway.connectors.connector import Call, DecodeFirst
from gateway.dispatch import Dispatch
from gateway.errors import GatewayError, RankFailedError
from gateway.leg_bodies import prefill_body
from gateway.outliving_prefill import OutlivingPrefill
from gateway.phases import DECODE_BEGINS_S
from gateway.placed_pair import PlacedPair
from gateway.prefill_leg import ANSWER_BYTES
from gateway.relay import read_whole
from scheduler.decision import LegKind
from scheduler.messages import RankCard


class CalledPrefill:
    """One prefill. `cached_tokens` of the prompt the rank had in its prefix cache, if it has said so by now; `at_fault`
    is whose leg it is that fails where this does.
    """

    def __init__(
        self, placed: PlacedPair, dispatch: Dispatch, connector: DecodeFirst, cards: tuple[RankCard, RankCard]
    ) -> None:
        self._placed = placed
        self._dispatch = dispatch
        self._connector = connector
        self._prefill, self._decode = cards
        self._leg = OutlivingPrefill(placed.gateway, dispatch, self._prefill)
        self.cached_tokens: int | None = None
        self.at_fault = (LegKind.PREFILL, self._prefill)

    @property
    def error(self) -> GatewayError | None:
        """Why it failed."""
        return self._leg.error

    def start(self, call: Call, on_end: Callable[[], None]) -> None:
        """Have the rank prefill; returns at once. At its end, unless it is cancelled, `on_end` is called."""
        self._leg.start(partial(self._run, call), on_end)

    def cancel(self) -> None:
        """Nobody waits for the KV any more, not even the decode rank; one that is yet to be called for is not begun."""
        self._leg.cancel()

    async def _run(self, call: Call) -> None:
        request, gateway = self._placed.request, self._placed.gateway
        try:
            gateway.allowed_kv.require(self._decode, (call.remote_host,))
        except RankFailedError:
            self.at_fault = (LegKind.DECODE, self._decode)
            raise
        params = self._connector.prefill_params(call, self._prefill, self._decode)
        body = prefill_body(request.api, request.body.fields, params, min_tokens=1)
        began_s = time.monotonic()
        await self._ask(body)
        gateway.metrics.pairs.prefill.labels(self._placed.pool.name).observe(time.monotonic() - began_s)
        self._placed.phases.prefill_done()
        if not request.body.streamed:
            self._placed.phases.first_token_in(DECODE_BEGINS_S)

    async def _ask(self, body: bytes) -> None:
        sent_ids = self._placed.request.asked.token_ids if self._placed.request.asked else 0
        on_sent = self._placed.phases.dispatched
        async with self._dispatch.send(self._prefill, body, on_sent, bears_stalls=lambda: False) as answer:
            failed = RankFailedError(f"The prefill rank answered with status {answer.status}")
            refuses = HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
            if not refuses and answer.status != HTTPStatus.OK:
                raise failed
            whole = await read_whole(answer, ANSWER_BYTES)
            if not refuses:
                api = self._placed.request.api
                self.cached_tokens = joint_answer.read(whole, api, sent_ids=sent_ids, needs_length=False).cached_tokens
        if refuses:  # raised out here, for that is no word against the rank (leg_word.py)
            raise failed
