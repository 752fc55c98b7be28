"""One WebSocket from its placement to its end."""

from __future__ import annotations

import anyio

from gateway import websocket
from gateway.access import RequestRecord
from gateway.client_http.switched import Offer, Switched
from gateway.dialects.apis import CHOICES
from gateway.dispatch import Dispatch
from gateway.edits import as_it_came
from gateway.gateway import Gateway
from gateway.headers import for_client
from gateway.leg_failures import LegFailures
from gateway.lost_ranks import always
from gateway.notes import Notes
from gateway.outcome import RANK_ERRORS, Outcome, Served
from gateway.phases import Phases
from gateway.placing import Pool
from gateway.relay import Manner, relay
from gateway.request import Request
from gateway.retry import Tries
from gateway.shape import SPOKEN_BYTES_PER_TOKEN
from gateway.upstream import RankTunnel
from gateway.usage_reader import UsageReader
from scheduler.decision import LegKind, Place
from scheduler.messages import RankCard

HALF_CLOSED_S = 10.0
"""How long a rank may go on when its client has closed its side: what is left to say is a goodbye."""


class RealtimeSession:
    """One try, the latest of its `tries`; made once, run once. The caller gives the reservation back."""

    def __init__(
        self, gateway: Gateway, pool: Pool, request: Request, offer: Offer, place: Place, tries: Tries
    ) -> None:
        self._gateway = gateway
        self._pool = pool
        self._request = request
        self._offer = offer
        self._place = place
        self._tries = tries

    async def run(self) -> Outcome:
        """Have the rank answer the handshake, and carry what follows until either side ends it.

        Its reservation counts as a running request all the while. Raises what is not to be tried anew:
        RankUnreachableError, RankFailedError, RankTimeoutError, TooManyConnectionsError, ClientGoneError.
        """
        phases = Phases(self._pool, self._place.reservation)
        notes = Notes(self._gateway, self._pool, self._request)
        notes.placed(self._place)
        card = self._place.legs[0].card
        try:
            await self._run_on(card, phases)
            return Served(None)
        except RANK_ERRORS as error:
            failures = LegFailures(self._pool, self._request.reply, notes, self._tries.again)
            return failures.outcome(LegKind.WHOLE, card, error)

    async def _run_on(self, card: RankCard, phases: Phases) -> None:
        dispatch = Dispatch(self._gateway, self._pool, self._request.head, self._place.reservation)
        self._request.record.attempt_id = dispatch.attempt_id
        reply = self._request.reply
        bears_stalls = (lambda: reply.started) if self._tries.holds_back else always
        async with dispatch.offer_websocket(card, phases.dispatched, bears_stalls=bears_stalls) as answer:
            phases.first_token()
            if isinstance(answer, RankTunnel):
                self._offer.prepare()
                await reply.switch(websocket.for_client(for_client(answer.headers), self._request.head.headers))
                await _carry(self._offer.switch(), answer, self._request.record)
            else:
                manner = Manner(
                    usage=UsageReader(),
                    on_first_token=phases.first_token,
                    edits=as_it_came(CHOICES),
                    of_any_size=True,
                    may_retry=self._tries.holds_back,
                )
                await relay(answer, reply, manner)


async def _carry(client: Switched, rank: RankTunnel, record: RequestRecord) -> None:
    """Pass on what comes from either side until the rank closes its own, or `HALF_CLOSED_S` after the client has.

    Neither side is read while the other does not take what came. Raises RankFailedError, RankTimeoutError.
    """
    errors = []  # carried out by hand: the group would wrap them

    async def pass_up() -> None:
        passed_bytes = 0
        while data := await client.read():
            passed_bytes += len(data)
            record.seen_tokens = max(record.seen_tokens, passed_bytes // SPOKEN_BYTES_PER_TOKEN)
            await rank.send(data)
        rank.end()
        ways.cancel_scope.deadline = anyio.current_time() + HALF_CLOSED_S

    async with anyio.create_task_group() as ways:
        ways.start_soon(pass_up, name="client to rank")
        try:
            while data := await rank.read():
                await client.write(data)
        except RANK_ERRORS as error:
            if not client.has_ended:
                errors.append(error)
        ways.cancel_scope.cancel()
    if errors:
        raise errors[0]
