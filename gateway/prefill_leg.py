"""The prefill leg of a pair, where it goes first."""

from __future__ import annotations

import time
from http import HTTPStatus

import anyio

from gateway import prefill_answer
from gateway.connectors.connector import Connector, Handover
from gateway.dispatch import Dispatch
from gateway.edits import Edits
from gateway.errors import RankFailedError, RankTimeoutError
from gateway.gateway import Gateway
from gateway.leg_bodies import prefill_body
from gateway.phases import Phases
from gateway.placing import Pool
from gateway.relay import Manner, read_whole, relay
from gateway.request import Request
from scheduler.messages import RankCard

ANSWER_BYTES = 4_000_000
"""One token, and ids of blocks: half a million bytes for a million tokens. Beside it an echo may repeat the prompt."""


class PrefillLeg:
    """One prefill. `handover` is what it gave, also when its end was not waited for; `answered` that the client was."""

    def __init__(self, gateway: Gateway, pool: Pool, request: Request, dispatch: Dispatch, phases: Phases) -> None:
        self._gateway = gateway
        self._pool = pool
        self._request = request
        self._dispatch = dispatch
        self._phases = phases
        self.handover: Handover | None = None
        self.answered = False

    async def run(self, card: RankCard, connector: Connector, *, may_retry: bool) -> None:
        """Have the rank prefill. What the client is at fault for it is told in the rank's words.

        So it is of any failure, unless there is another to ask (`may_retry`). Raises RankUnreachableError,
        RankFailedError, RankTimeoutError, TooManyConnectionsError, ClientGoneError.
        """
        body = prefill_body(self._request.api, self._request.body.fields, connector.prefill_params())
        prefill_s = self._gateway.settings.prefill_ms / 1000
        began_s = time.monotonic()
        with anyio.move_on_after(prefill_s):
            async with self._dispatch.post(card, body, self._phases.dispatched) as answer:
                status = answer.status
                if 400 <= status < 500 or (status != HTTPStatus.OK and not may_retry):
                    manner = Manner(tap_usage=False, on_first_token=_nothing, edits=Edits())
                    await relay(answer, self._request.reply, manner)
                    self.answered = True
                    return
                if status != HTTPStatus.OK:
                    raise RankFailedError(f"The prefill rank answered with status {status}")
                whole = await read_whole(answer, ANSWER_BYTES + len(body))
                # From here on the rank holds KV for somebody; whoever cancels this must know of it.
                self.handover = connector.handover(prefill_answer.read(whole), card)
            self._gateway.metrics.pairs.prefill.labels(self._pool.name).observe(time.monotonic() - began_s)
            return
        raise RankTimeoutError(f"The prefill rank did not answer within {prefill_s:g} s")


def _nothing() -> None:
    """A prefill shows no first token."""
