"""The prefill leg of a pair, where it goes first."""

from __future__ import annotations

import time
from http import HTTPStatus

import anyio

from gateway import prefill_answer
from gateway.connectors.connector import Handover, PrefillFirst
from gateway.dialects.apis import dialect_of
from gateway.dispatch import Dispatch
from gateway.edits import as_it_came
from gateway.errors import GatewayError, RankFailedError, RankTimeoutError
from gateway.gateway import Gateway
from gateway.leg_bodies import prefill_body
from gateway.phases import Phases
from gateway.placing import Pool
from gateway.relay import Manner, read_whole, relay
from gateway.reply import ClientGoneError
from gateway.request import Request
from gateway.usage_reader import UsageReader
from scheduler.messages import RankCard

ANSWER_BYTES = 8_000_000
"""One token, and ids of blocks: half a million bytes for a million tokens. Beside it an echo may repeat the prompt, as
text or as ids; a rank is not asked to repeat more.
"""

LAST_LOOK_S = 0.1
"""How long an answer that is on its way is still read after the client has left. KV of which nobody knows the params is
held until its lease ends.
"""


class PrefillLeg:
    """One prefill. `handover` is what it gave, also when its end was not waited for; `answered` that the client was."""

    def __init__(self, gateway: Gateway, pool: Pool, request: Request, dispatch: Dispatch, phases: Phases) -> None:
        self._gateway = gateway
        self._pool = pool
        self._request = request
        self._dispatch = dispatch
        self._phases = phases
        self._sent = False
        self._error: GatewayError | ClientGoneError | None = None
        self._ended = anyio.Event()
        self.handover: Handover | None = None
        self.answered = False

    async def run(self, card: RankCard, connector: PrefillFirst) -> None:
        """Have the rank prefill. What the client is at fault for it is told in the rank's words.

        Raises RankUnreachableError,
        RankFailedError, RankTimeoutError, TooManyConnectionsError, ClientGoneError.
        """
        prefill_s = self._gateway.settings.prefill_ms / 1000
        scope = anyio.CancelScope(deadline=anyio.current_time() + prefill_s, shield=True)
        async with anyio.create_task_group() as group:
            group.start_soon(self._exchange, card, connector, scope, name="prefill leg")
            try:
                await self._ended.wait()
            except anyio.get_cancelled_exc_class():
                scope.deadline = anyio.current_time() + (LAST_LOOK_S if self._sent else 0)
                with anyio.CancelScope(shield=True):
                    await self._ended.wait()
                raise
        if self._error is not None:
            raise self._error
        if scope.cancelled_caught:
            self._dispatch.ran_out_of_time(card)
            raise RankTimeoutError(f"The prefill rank did not answer within {prefill_s:g} s")

    async def _exchange(self, card: RankCard, connector: PrefillFirst, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                await self._ask(card, connector)
        except (GatewayError, ClientGoneError) as error:
            self._error = error  # carried out by hand: the group would wrap it
        finally:
            self._ended.set()

    async def _ask(self, card: RankCard, connector: PrefillFirst) -> None:
        fields, params = self._request.body.fields, connector.prefill_params()
        body = prefill_body(self._request.api, fields, params, min_tokens=connector.prefill_min_tokens)
        sent_ids = self._request.asked.token_ids if self._request.asked else 0
        began_s = time.monotonic()
        async with self._dispatch.send(card, body, self._on_sent, bears_stalls=lambda: False) as answer:
            status = answer.status
            if 400 <= status < 500:
                edits = as_it_came(dialect_of(self._request.api))
                manner = Manner(UsageReader(), on_first_token=_nothing, edits=edits)
                await relay(answer, self._request.reply, manner)
                self.answered = True
                return
            if status != HTTPStatus.OK:
                raise RankFailedError(f"The prefill rank answered with status {status}")
            whole = await read_whole(answer, ANSWER_BYTES)
            handover = connector.handover(prefill_answer.read(whole, sent_ids=sent_ids), card)
            if handover is not None:
                self._gateway.allowed_kv.require(card, handover.hosts)
            # From here on the rank holds KV for somebody; whoever ends this must know of it.
            self.handover = handover
        self._gateway.metrics.pairs.prefill.labels(self._pool.name).observe(time.monotonic() - began_s)

    def _on_sent(self) -> None:
        self._sent = True
        self._phases.dispatched()


def _nothing() -> None:
    """A prefill shows no first token."""
