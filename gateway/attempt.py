"""One attempt to serve a placed request, on one rank or a pair."""

from __future__ import annotations

import secrets

from gateway.answer_leg import AnswerLeg
from gateway.connectors import CONNECTORS
from gateway.connectors.connector import DecodeFirst, PrefillFirst, Together
from gateway.decode_first_pair import DecodeFirstPair
from gateway.dialects.apis import dialect_of
from gateway.dispatch import Dispatch
from gateway.edits import Edits, stops_at_recomputed
from gateway.gateway import Gateway
from gateway.joint_pair import JointPair
from gateway.leg_failures import LegFailures
from gateway.notes import Notes
from gateway.outcome import RANK_ERRORS, Outcome, Served
from gateway.pair import PullPair
from gateway.phases import Phases
from gateway.placed_pair import PlacedPair
from gateway.placing import Pool
from gateway.request import Request
from gateway.retry import Tries
from scheduler.decision import Leg, LegKind, Place
from scheduler.messages import RankCard, Role


class Attempt:
    """One try to serve a placed request, the latest of its `tries`; made once, run once. The caller gives the
    reservation back.
    """

    def __init__(self, gateway: Gateway, pool: Pool, request: Request, place: Place, tries: Tries) -> None:
        self._gateway = gateway
        self._pool = pool
        self._request = request
        self._place = place
        self._tries = tries
        self._phases = Phases(pool, place.reservation)
        self._notes = Notes(gateway, pool, request)
        self._failures = LegFailures(pool, request.reply, self._notes, tries.again)

    async def run(self) -> Outcome:
        """Send the request where it was placed and relay the answer.

        Raises what is not to be tried anew: RankUnreachableError, RankFailedError, RankErrorAnswerError,
        RankTimeoutError, RecomputedError, TooManyConnectionsError, ClientGoneError.
        """
        try:
            self._notes.placed(self._place)
            match self._place.legs:
                case (prefill, decode):
                    return await self._run_pair(prefill, decode)
                case (leg,):
                    return await self._run_whole(leg.card)
                case _:
                    raise AssertionError("a placement has one leg or two")
        finally:
            self._phases.end()

    async def _run_pair(self, prefill: Leg, decode: Leg) -> Outcome:
        reservation = self._place.reservation
        placed = PlacedPair(self._gateway, self._pool, self._request, reservation, self._phases, self._notes)
        match CONNECTORS[prefill.card.connector]:
            case PrefillFirst() as connector:
                return await PullPair(placed, connector).run((prefill, decode), self._tries)
            case Together() as connector:
                return await JointPair(placed, connector, room=secrets.randbits(63)).run((prefill, decode), self._tries)
            case DecodeFirst() as connector if self._may_be_called(connector):
                return await DecodeFirstPair(placed, connector).run((prefill, decode), self._tries)
            case DecodeFirst():
                return await self._run_whole(decode.card)

    def _may_be_called(self, connector: DecodeFirst) -> bool:
        return self._gateway.metaserver.is_open and self._request.api in connector.apis

    async def _run_whole(self, card: RankCard) -> Outcome:
        dispatch = Dispatch(self._gateway, self._pool, self._request.head, self._place.reservation)
        self._request.record.attempt_id = dispatch.attempt_id
        answer = AnswerLeg(self._gateway, self._pool, self._request, dispatch, self._phases)
        speaks_kv = self._request.route.kind.generates and (card.role is not Role.MIXED or card.connector)
        own_stop = not speaks_kv or stops_at_recomputed(self._request.body.fields)
        edits = Edits(own_stop=own_stop, dialect=dialect_of(self._request.route.api))
        try:
            usage = await answer.run(
                card,
                self._request.content,
                on_sent=self._on_sent,
                edits=edits,
                of_any_size=not speaks_kv,
                may_retry=self._tries.holds_back,
            )
            return Served(usage)
        except RANK_ERRORS as error:
            return self._failures.outcome(LegKind.WHOLE, card, error)

    def _on_sent(self) -> None:
        self._phases.dispatched()
        if not self._request.body.streamed:
            # Else it would weigh as a queued prompt until its last token.
            self._phases.first_token_in(self._place.first_token_s)
