"""One attempt with a pair of ranks where the prefill goes first: prefill, rebind, decode.

Whatever ends it between the prefill's answer and the decode rank's having the request, the KV that was offered is
freed. It is fetched once at most: after a failure the next attempt prefills anew.
"""

from __future__ import annotations

import anyio

from gateway.answer_leg import AnswerLeg
from gateway.connectors.connector import Handover, PrefillFirst
from gateway.dialects.apis import dialect_of
from gateway.edits import Edits, stops_at_recomputed
from gateway.errors import NoRankError, RankFailedError
from gateway.freeing import Freeing
from gateway.gateway import RETRY_AFTER_MS
from gateway.leg_bodies import decode_body
from gateway.leg_failures import LegFailures
from gateway.outcome import RANK_ERRORS, Failed, Outcome, Served, Trouble
from gateway.phases import DECODE_BEGINS_S
from gateway.placed_pair import PlacedPair
from gateway.prefill_leg import PrefillLeg
from gateway.retry import Tries
from scheduler.decision import Leg, LegKind
from scheduler.messages import RankCard


class PullPair:
    """One prefill and one decode of a placed request; made once, run once."""

    def __init__(self, placed: PlacedPair, connector: PrefillFirst) -> None:
        self._gateway = placed.gateway
        self._pool = placed.pool
        self._request = placed.request
        self._reservation = placed.reservation
        self._phases = placed.phases
        self._notes = placed.notes
        self._connector = connector
        self._dispatch = placed.dispatch()

    async def run(self, legs: tuple[Leg, Leg], tries: Tries) -> Outcome:
        """Serve the request, or say why not; its decode rank is none to avoid if there is another, and no silent one.

        Raises what is not to be tried anew.
        """
        failures = LegFailures(self._pool, self._request.reply, self._notes, tries.again)
        prefill, decode = (leg.card for leg in legs)
        leg = PrefillLeg(self._gateway, self._pool, self._request, self._dispatch, self._phases)
        answer = AnswerLeg(self._gateway, self._pool, self._request, self._dispatch, self._phases)
        failed = ""
        try:
            try:
                await leg.run(prefill, self._connector)
            except RANK_ERRORS as error:
                return failures.outcome(LegKind.PREFILL, prefill, error)
            if leg.answered:
                return Served(None)
            if leg.handover is None:
                return Failed(Trouble.NO_TRANSFER, "", RankFailedError("The prefill rank offers no KV"))
            by_s = anyio.current_time() + self._connector.reach_within_s
            receipt_for = self._request.receipt_for
            bound = await self._pool.rebind(self._reservation, receipt_for=receipt_for, avoid=tries.avoid)
            if bound is None or bound.card.rank in tries.silent:
                gone = NoRankError("No decode rank is left to go on with", retry_after_ms=RETRY_AFTER_MS)
                return Failed(Trouble.DECODE_GONE, decode.rank, gone)
            decode = bound.card
            outcome = await self._decode(answer, failures, leg.handover, (prefill, decode), by_s)
            failed = outcome.rank if isinstance(outcome, Failed) else ""
            return outcome
        finally:
            if leg.handover is not None and not answer.reached:
                freeing = Freeing(self._gateway, self._pool, self._request)
                freeing.start(leg.handover, prefill, rather=decode.rank, failed=failed)

    async def _decode(
        self,
        answer: AnswerLeg,
        failures: LegFailures,
        handover: Handover,
        cards: tuple[RankCard, RankCard],
        by_s: float,
    ) -> Outcome:
        prefill, decode = cards
        self._notes.decodes_on(decode)
        fields = self._request.body.fields
        params = self._connector.decode_params(handover, prefill, decode)
        edits = Edits(
            cached_tokens=handover.cached_tokens,
            own_stop=stops_at_recomputed(fields),
            dialect=dialect_of(self._request.api),
        )
        try:
            usage = await answer.run(
                decode,
                decode_body(fields, params),
                on_sent=self._on_decode_sent,
                edits=edits,
                may_retry=True,
                reach_within_s=by_s - anyio.current_time(),
            )
        except RANK_ERRORS as error:
            kv_of = prefill.rank if answer.reached else ""
            return failures.outcome(LegKind.DECODE, decode, error, kv_of=kv_of)
        return Served(usage)

    def _on_decode_sent(self) -> None:
        if not self._request.body.streamed:
            self._phases.first_token_in(DECODE_BEGINS_S)
