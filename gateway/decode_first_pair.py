"""One attempt with a pair of ranks where the decode rank goes first, and calls when it has room for the KV.

If the prefill fails the decode rank would wait for ever, so its leg is closed at once and the request tried anew. If
the decode rank fails, the prefill is cancelled. If the prefill ends well and the decode rank never hears of it, as is
possible, its stream is silent for too long. If the client leaves, the decode leg is closed and the prefill is let
end (called_prefill.py says why).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Self

import anyio

from gateway.answer_leg import AnswerLeg
from gateway.called_prefill import CalledPrefill
from gateway.connectors.connector import Call, DecodeFirst
from gateway.dialects.apis import dialect_of
from gateway.edits import Edits, stops_at_recomputed
from gateway.errors import RankTimeoutError
from gateway.leg_bodies import decode_body
from gateway.leg_failures import LegFailures
from gateway.metaserver import Awaited
from gateway.outcome import RANK_ERRORS, Outcome, Served
from gateway.placed_pair import PlacedPair
from gateway.retry import Tries
from gateway.usage import Usage
from scheduler.decision import Leg, LegKind
from scheduler.messages import RankCard

log = logging.getLogger(__name__)


class _Silence:
    """How long a decode rank may be silent once its prefill has ended: until the block does, and nothing if it has."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()

    def cancel_after(self, seconds: float, stop: Callable[[], None]) -> None:
        """Stop after so long."""
        if not self._is_over:
            self._timer = asyncio.get_running_loop().call_later(seconds, stop)


class DecodeFirstPair:
    """One decode and one prefill of a placed request; made once, run once."""

    def __init__(self, placed: PlacedPair, connector: DecodeFirst) -> None:
        self._placed = placed
        self._connector = connector
        self._dispatch = placed.dispatch()
        args = (placed.gateway, placed.pool, placed.request, self._dispatch, placed.phases)
        self._answer = AnswerLeg(*args)

    async def run(self, legs: tuple[Leg, Leg], tries: Tries) -> Outcome:
        """Serve the request, or say why not. Raises what is not to be tried anew."""
        placed, reply = self._placed, self._placed.request.reply
        failures = LegFailures(placed.pool, reply, placed.notes, tries.again)
        prefill, decode = (leg.card for leg in legs)
        placed.gateway.metaserver.warn_of_address(decode)
        placed.notes.decodes_on(decode)
        prefilling = CalledPrefill(placed, self._dispatch, self._connector, (prefill, decode))
        decoding = anyio.CancelScope()

        def stop_waiting() -> None:
            if not reply.started:  # else the decode rank has the KV
                decoding.cancel()

        def on_end() -> None:
            if prefilling.error is not None:
                stop_waiting()
            elif placed.request.body.streamed:
                silence.cancel_after(placed.gateway.settings.idle_ms / 1000, stop_waiting)

        def on_call(call: Call) -> None:
            prefilling.start(call, on_end)

        with _Silence() as silence, placed.gateway.metaserver.awaiting(self._connector, on_call) as awaited:
            try:
                with decoding:
                    usage = await self._decode(decode, awaited, prefilling)
                    awaited.is_over()
                    return Served(usage)
            except RANK_ERRORS as error:
                prefilling.cancel()
                awaited.is_over()
                if isinstance(error, RankTimeoutError) and not awaited.child:
                    log.warning("%s never called %s for its prefill", decode.rank, placed.gateway.metaserver.address)
                kv_of = prefill.rank if awaited.child else ""
                return failures.outcome(LegKind.DECODE, decode, error, kv_of=kv_of)
        if prefilling.error is not None:
            return failures.outcome(*prefilling.at_fault, prefilling.error)
        self._dispatch.ran_out_of_time(decode)
        stranded = RankTimeoutError("The decode rank has said nothing for too long since its prefill ended")
        return failures.outcome(LegKind.DECODE, decode, stranded, kv_of=prefill.rank)

    async def _decode(self, decode: RankCard, awaited: Awaited, prefilling: CalledPrefill) -> Usage | None:
        request = self._placed.request
        edits = Edits(
            cached_later=lambda: prefilling.cached_tokens,
            own_stop=stops_at_recomputed(request.body.fields),
            dialect=dialect_of(request.api),
        )
        body = decode_body(request.body.fields, self._connector.decode_params(awaited.url))

        def on_sent() -> None:
            awaited.may_be_called()
            self._placed.phases.decode_waits()

        return await self._answer.run(decode, body, on_sent=on_sent, edits=edits, may_retry=True)
