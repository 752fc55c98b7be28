"""One attempt with a pair of ranks whose legs start at once: the decode rank waits for what the prefill rank sends it.

The client's answer is the decode rank's. Of the prefill rank's it is awaited how it ended: where it failed the decode
rank would wait for ever, so its request is ended at once. Whatever ends the decode leg ends the prefill, but for a
client that leaves where only KV that comes frees the decode rank's blocks (outliving_prefill.py). Each attempt has ids
of its own; a transfer is never had twice.
"""

from __future__ import annotations

from functools import partial
from typing import assert_never

import anyio

from gateway.answer_leg import AnswerLeg
from gateway.connectors.connector import Handover, JointIds, JointLeg, Together
from gateway.dialects.apis import dialect_of
from gateway.edits import Edits, stops_at_recomputed
from gateway.errors import GatewayError, RankFailedError, RankNotReachedError
from gateway.freeing import Freeing
from gateway.joint_prefill import Broken, JointPrefill, Prefilled, PrefillEnd, Refused
from gateway.leg_failures import LegFailures
from gateway.lost_ranks import LOOK_S
from gateway.outcome import RANK_ERRORS, Failed, Outcome, Served, Trouble
from gateway.outliving_prefill import OutlivingPrefill
from gateway.phases import DECODE_BEGINS_S
from gateway.placed_pair import PlacedPair
from gateway.reply import ClientGoneError
from gateway.retry import Tries
from scheduler.decision import Leg, LegKind
from scheduler.messages import RankCard

SURELY_SEEN_S = 10.0
"""In which gateways hear that a rank was restarted."""


class JointPair:
    """One prefill and one decode of a placed request; made once, run once. `room` is a random number below 2 ** 63."""

    def __init__(self, placed: PlacedPair, connector: Together, room: int) -> None:
        self._placed = placed
        self._request = placed.request
        self._connector = connector
        self._dispatch = placed.dispatch()
        self._ids = JointIds(self._dispatch.attempt_id, room)
        self._answer = AnswerLeg(placed.gateway, placed.pool, placed.request, self._dispatch, placed.phases)
        self._decoding = anyio.CancelScope()
        self._has_prefilled = anyio.Event()
        self._prefill_end: PrefillEnd | None = None
        self._decoded: Served | GatewayError | ClientGoneError | None = None

    async def run(self, legs: tuple[Leg, Leg], tries: Tries) -> Outcome:
        """Serve the request, or say why not. Raises what is not to be tried anew."""
        prefill, decode = (leg.card for leg in legs)
        if unknown := self._connector.lacks(prefill):
            return Failed(Trouble.NO_TRANSFER, "", RankFailedError(f"Of the prefill rank is not known {unknown}"))
        self._placed.notes.decodes_on(decode)
        failed = ""
        try:
            await self._run_both(prefill, decode)
            outcome = await self._outcome(prefill, decode, tries)
            failed = outcome.rank if isinstance(outcome, Failed) else ""
            return outcome
        finally:
            if isinstance(self._prefill_end, Prefilled) and not self._answer.reached:
                self._free(prefill, rather=decode.rank, failed=failed)

    async def _run_both(self, prefill: RankCard, decode: RankCard) -> None:
        """Until the decode leg is over. Its end is the prefill's too, unless that is what frees the decode rank."""
        prefilling = OutlivingPrefill(self._placed.gateway, self._dispatch, prefill)
        is_let_end = False

        def on_end() -> None:
            if prefilling.error is not None:
                self._prefill_end = Broken(prefilling.error)
            self._has_prefilled.set()

        prefilling.start(partial(self._prefill, prefill), on_end)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch_prefill, prefill, name="prefill watch")
                with self._decoding:
                    try:
                        self._decoded = await self._decode(prefill, decode)
                    except (GatewayError, ClientGoneError) as error:
                        self._decoded = error  # carried out by hand: the group would wrap it
                group.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():
            is_let_end = self._connector.frees_by_end and self._answer.reached
            raise
        finally:
            if not is_let_end:
                prefilling.cancel()

    async def _prefill(self, card: RankCard) -> None:
        body = self._connector.prefill_body(self._leg, card, self._ids)
        self._prefill_end = await JointPrefill(self._placed, self._dispatch, self._connector).run(card, body)

    async def _watch_prefill(self, card: RankCard) -> None:
        await self._has_prefilled.wait()
        if self._request.reply.started:
            return
        if not isinstance(self._prefill_end, Prefilled):
            self._decoding.cancel()
        else:
            if not self._request.body.streamed:
                self._placed.phases.first_token_in(DECODE_BEGINS_S)
            await self._watch_beginning(card)

    async def _watch_beginning(self, prefill: RankCard) -> None:
        """End a decode leg that waits for KV that will not come. What is not streamed shows no beginning."""
        since_s = anyio.current_time()
        streamed = self._request.body.streamed
        while not self._request.reply.started:
            waited_s = anyio.current_time() - since_s
            if not streamed and waited_s > SURELY_SEEN_S:
                return
            if self._is_of_another_life(prefill):
                self._prefill_end = Broken(RankFailedError("The prefill rank has begun another life"))
            elif waited_s <= self._connector.begins_within_s:
                await anyio.sleep(LOOK_S)
                continue
            self._decoding.cancel()
            return

    def _is_of_another_life(self, prefill: RankCard) -> bool:
        """Whether the decode rank was sent to a life of the prefill rank that is over."""
        view = self._placed.pool.view.ranks.get(prefill.rank)
        return view is not None and view.card.incarnation != prefill.incarnation

    async def _decode(self, prefill: RankCard, decode: RankCard) -> Served:
        edits = Edits(
            cached_later=self._cached_tokens,
            own_stop=stops_at_recomputed(self._leg.fields),
            dialect=dialect_of(self._request.api),
        )
        body = self._connector.decode_body(self._leg, prefill, self._ids)
        on_sent = self._placed.phases.decode_waits
        return Served(await self._answer.run(decode, body, on_sent=on_sent, edits=edits, may_retry=True))

    async def _outcome(self, prefill: RankCard, decode: RankCard, tries: Tries) -> Outcome:
        """Of the two legs. Where both have failed the decode rank may have failed of what the prefill rank did."""
        failures = LegFailures(self._placed.pool, self._request.reply, self._placed.notes, tries.again)
        match self._decoded:
            case Served():
                return self._decoded
            case None:
                return await self._unfinished(failures, prefill, decode)
            case GatewayError() as error if isinstance(error, RANK_ERRORS):
                kv_of = prefill.rank if self._answer.reached else ""
                return failures.outcome(LegKind.DECODE, decode, error, kv_of=kv_of)
            case error:
                raise error

    async def _unfinished(self, failures: LegFailures, prefill: RankCard, decode: RankCard) -> Outcome:
        """The decode leg was given up for how the prefill ended."""
        match self._prefill_end:
            case Refused(status, headers, body):
                await self._request.reply.whole(status, headers, body)
                return Served(None)
            case Broken(error) if isinstance(error, RANK_ERRORS):
                return failures.outcome(LegKind.PREFILL, prefill, error)
            case Broken(error):
                raise error
            case Prefilled():
                self._dispatch.ran_out_of_time(decode)
                late = RankNotReachedError("The decode rank did not begin while its KV was surely held")
                return failures.outcome(LegKind.DECODE, decode, late, kv_of=prefill.rank)
            case None:
                raise AssertionError("a decode leg is given up after its prefill has ended")
            case _:
                assert_never(self._prefill_end)

    def _free(self, prefill: RankCard, *, rather: str, failed: str) -> None:
        params = self._connector.freeing_params(prefill, self._ids)
        if params is not None:
            freeing = Freeing(self._placed.gateway, self._placed.pool, self._request)
            freeing.start(Handover(params=params, hosts=(), cached_tokens=None), prefill, rather=rather, failed=failed)

    def _cached_tokens(self) -> int | None:
        return self._prefill_end.cached_tokens if isinstance(self._prefill_end, Prefilled) else None

    @property
    def _leg(self) -> JointLeg:
        return JointLeg(self._request.api, self._request.body.fields)
