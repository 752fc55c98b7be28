"""The leg whose answer the client gets: the whole request, or the decode leg of a pair."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

import anyio

from gateway import response_id
from gateway.client_body import ClientBody
from gateway.dispatch import Dispatch
from gateway.edits import Edits
from gateway.errors import RankNotReachedError
from gateway.event_stream import Tap
from gateway.gateway import Gateway
from gateway.leg_word import Tells
from gateway.lost_ranks import always
from gateway.phases import Phases
from gateway.placing import Pool
from gateway.relay import Manner, relay
from gateway.request import Request
from gateway.routes import Kind
from gateway.seen_events import SeenEvents
from gateway.shape import answers_of
from gateway.usage import Usage
from gateway.usage_reader import UsageReader
from gateway.wire import Api
from gateway.withheld_usage import WithheldUsage
from scheduler.messages import RankCard


class AnswerLeg:
    """One rank's answer to one client. `reached` says whether the rank has the request."""

    def __init__(self, gateway: Gateway, pool: Pool, request: Request, dispatch: Dispatch, phases: Phases) -> None:
        self._gateway = gateway
        self._pool = pool
        self._request = request
        self._dispatch = dispatch
        self._phases = phases
        self.reached = False

    async def run(
        self,
        card: RankCard,
        content: bytes | ClientBody,
        *,
        on_sent: Callable[[], None],
        edits: Edits,
        of_any_size: bool = False,
        may_retry: bool = False,
        reach_within_s: float = math.inf,
    ) -> Usage | None:
        """Send the content, relay the answer and return the usage in it, if any.

        The rank must have the request `reach_within_s` from now, and have begun to answer if a stream is asked for.
        Where there `may_retry`, a stalled rank is waited for only once the client has something. Raises
        RankUnreachableError, RankNotReachedError, RankFailedError, RankErrorAnswerError, RankTimeoutError,
        RecomputedError, TooManyConnectionsError, ClientGoneError.
        """
        streamed = self._request.body.streamed
        manner = self._manner(card, edits, of_any_size=of_any_size, may_retry=may_retry)
        with anyio.move_on_after(reach_within_s) as reaching:

            def sent() -> None:
                self.reached = True
                if not streamed:
                    reaching.deadline = math.inf
                on_sent()

            reply = self._request.reply
            bears_stalls = (lambda: reply.started) if may_retry else always
            tells = Tells.FAULTS if self._request.route.kind is Kind.COUNTING else Tells.ALL
            async with self._dispatch.send(card, content, sent, bears_stalls=bears_stalls, tells=tells) as answer:
                reaching.deadline = math.inf
                try:
                    await relay(answer, reply, manner)
                finally:
                    self._request.record.usage = manner.usage.usage
                if answer.status == 200:
                    self._phases.first_token()
        if reaching.cancelled_caught:
            self._dispatch.ran_out_of_time(card)
            raise RankNotReachedError("The decode rank did not take the request while its KV was surely held")
        started_s = self._request.record.started_s
        self._gateway.metrics.e2e.labels(self._pool.name).observe(time.monotonic() - started_s)
        return self._request.record.usage

    def _manner(self, card: RankCard, edits: Edits, *, of_any_size: bool, may_retry: bool) -> Manner:
        return Manner(
            usage=UsageReader(edits.dialect.usage),
            on_first_token=self._on_first_token,
            edits=edits,
            of_any_size=of_any_size,
            may_retry=may_retry,
            claim=self._request.claim,
            taps=self._taps(),
            withheld=self._withheld(),
            on_beginning=partial(self._on_beginning, card) if self._keeps else None,
        )

    def _taps(self) -> tuple[Tap, ...]:
        paces = (self._gateway.metrics.paces.tap(self._pool.name),) if self._gateway.settings.pace else ()
        record = self._request.record
        has_limit = record.key is not None and record.key.tokens_per_minute
        return (*paces, SeenEvents(record)) if has_limit else paces

    def _withheld(self) -> WithheldUsage | None:
        _, _, _, body, asked, *_ = self._request
        if not body.withholds_usage:
            return None
        has_fingerprint = self._request.route.api is not Api.GENERATE
        return WithheldUsage(answers_of(body, asked) if has_fingerprint else 0)

    @property
    def _keeps(self) -> bool:
        """Whether the rank is asked to keep its answer for later."""
        return self._request.route.api is Api.RESPONSES and response_id.is_to_be_kept(self._request.body.fields)

    def _on_beginning(self, card: RankCard, said: bytes) -> None:
        if (response := response_id.of_answer(said)) is not None:
            self._gateway.kept.note(response, self._pool.name, card)

    def _on_first_token(self) -> None:
        self._phases.first_token()
        record = self._request.record
        record.first_token_s = time.monotonic()
        self._gateway.metrics.ttft.labels(self._pool.name).observe(record.first_token_s - record.started_s)
