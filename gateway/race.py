"""A request whose first byte may be late: another rank is asked too then, and whoever has something first answers.

The other one is cancelled, which its rank learns by its connection, and its reservation is given back at once. Each has
a record of its own until one of them has won.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import anyio
import msgspec

from gateway.access import RequestRecord
from gateway.attempt import Attempt
from gateway.errors import GatewayError
from gateway.first_byte_times import SizeClass
from gateway.gateway import Gateway
from gateway.hedging import Hedging, size_of
from gateway.held import Held
from gateway.notes import show_ranks
from gateway.outcome import Failed, Outcome
from gateway.placing import Pool
from gateway.reply import ClientGoneError
from gateway.request import Request
from gateway.retry import Tries
from gateway.shared_fate import likely_to_fail_with
from scheduler.decision import Place, RequestShape
from scheduler.messages import RankCard

OF_AN_ATTEMPT = ("attempt_id", "rank", "prefill_rank", "usage", "seen_tokens", "first_token_s")
"""What a record says of the attempt that answered."""


class Lane:
    """One of the attempts. `held` has its reservation; `error` is one that is not to be tried anew."""

    def __init__(self, held: Held, record: RequestRecord) -> None:
        self.held = held
        self.record = msgspec.structs.replace(record)
        self.scope = anyio.CancelScope()
        self.outcome: Outcome | None = None
        self.error: GatewayError | ClientGoneError | None = None


class Contest(NamedTuple):
    """What is contested: a request in a pool, and what it may be hedged by."""

    gateway: Gateway
    pool: Pool
    request: Request
    hedging: Hedging


class Race:
    """One request's first try; made once, run once."""

    def __init__(self, contest: Contest, shape: RequestShape) -> None:
        self._gateway, self._pool, self._request, self._hedging = contest
        self._shape = shape
        self._size: SizeClass = size_of(shape, streamed=self._request.body.streamed)
        self._began_s = anyio.current_time()
        self._first_byte_s = 0.0
        self._lanes: list[Lane] = []
        self._winner: Lane | None = None
        self._settled = anyio.Event()

    async def run(self, held: Held, place: Place, tries: Tries) -> Outcome:
        """Serve the request where it was placed, or on another rank too if that is late; see `Attempt.run`.

        `held` has the reservation; it is still there if this was the only attempt, and it failed.
        """
        after_s = self._hedging.after_s(self._pool.name, self._size)
        try:
            with Held(self._pool) as other:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._run, self._lane(held), place, tries, name="attempt")
                    is_late = after_s is not None and await self._is_late(after_s)
                    if is_late and (second := await self._placed_elsewhere(other, place.legs[0].card)) is not None:
                        group.start_soon(self._run, self._lane(other), second, tries, name="hedge")
        finally:
            self._note(self._winner or self._lanes[0])
        return self._outcome()

    def _lane(self, held: Held) -> Lane:
        self._lanes.append(lane := Lane(held, self._request.record))
        return lane

    async def _is_late(self, after_s: float) -> bool:
        with anyio.move_on_after(after_s):
            await self._settled.wait()
        return not self._settled.is_set()

    async def _placed_elsewhere(self, held: Held, card: RankCard) -> Place | None:
        """A second placement, if there may be one and there is another rank; none if the first has ended meanwhile."""
        if not (self._hedging.take() and self._gateway.retry_budget.take(is_first=False)):
            return None
        shape = msgspec.structs.replace(self._shape, pairable=False)
        avoid = likely_to_fail_with(card, (rank.card for rank in self._pool.view.ranks.values()))
        decision = await held.place(shape, receipt_for=self._request.receipt_for, avoid=avoid)
        if isinstance(decision, Place) and decision.legs[0].card.rank not in avoid and not self._settled.is_set():
            self._gateway.retry_metrics.hedges.labels(self._pool.name).inc()
            return decision
        held.release()
        return None

    async def _run(self, lane: Lane, place: Place, tries: Tries) -> None:
        request = self._request._replace(record=lane.record, claim=partial(self._claim, lane))
        with lane.scope:
            try:
                lane.outcome = await Attempt(self._gateway, self._pool, request, place, tries).run()
            except (GatewayError, ClientGoneError) as error:
                lane.error = error  # carried out by hand: the group would wrap it
        if lane is not self._winner and len(self._lanes) > 1:
            lane.held.release()
        self._settled.set()

    async def _claim(self, lane: Lane) -> None:
        """This attempt has something for the client: it may go on if it is the first, and never if it is not."""
        if self._winner is None:
            self._winner = lane
            self._settled.set()
            self._first_byte_s = anyio.current_time() - self._began_s
            for other in self._lanes:
                if other is not lane:
                    other.scope.cancel()
            if lane is not self._lanes[0]:
                self._gateway.retry_metrics.hedges_won.labels(self._pool.name).inc()
            if self._request.explain:
                show_ranks(self._request.reply, lane.record, self._gateway.name)
        elif self._winner is not lane:
            await anyio.sleep_forever()  # it is cancelled already

    def _note(self, lane: Lane) -> None:
        for name in OF_AN_ATTEMPT:
            setattr(self._request.record, name, getattr(lane.record, name))

    def _outcome(self) -> Outcome:
        """That of the winner; where both have failed, with both ranks to avoid, that of one that was silent, if any."""
        lanes = [self._winner] if self._winner else self._lanes
        for lane in lanes[:1]:
            if lane.error is not None:
                raise lane.error
        failed = [lane.outcome for lane in lanes if isinstance(lane.outcome, Failed)]
        if failed and self._winner is None:
            others = frozenset[str]().union(*(one.suspects for one in failed))
            silent = frozenset[str]().union(*(one.silent for one in failed))
            shown = next((one for one in failed if one.silent), failed[0])
            return msgspec.structs.replace(shown, others=others, silent=silent, placements=len(self._lanes))
        if lanes[0].record.usage is not None:  # else it may have been refused, which says nothing
            self._hedging.learn(self._pool.name, self._size, self._first_byte_s)
        assert lanes[0].outcome is not None, "an attempt answers, or raises"
        return lanes[0].outcome
