"""Places as Forebay does: its policies on the gateway's last snapshot, its scripts on the shared ledger."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random

import msgspec

from scheduler.decision import LegKind, Place, RequestShape
from scheduler.estimates import TokenEstimator
from scheduler.messages import Phase
from scheduler.pending import StoreAnswer
from scheduler.placing_alone import PlacingAlone
from scheduler.planning import Plan, Rules, plan
from scheduler.rebinding import plan_rebinding
from scheduler.reservation import Reservation
from simulator.cluster.placer import Placed
from simulator.cluster.prefixes import Prefixes, Prompt
from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.snapshots import Snapshots
from simulator.cluster.writer import GatewayWriter

_NOBODY: frozenset[str] = frozenset()
_API = "chat"
_POOL = "sim"

TakePlaced = Callable[[Placed | None], None]


class LedgerPlacer:
    """One gateway's. Prompts are as long as they are believed to be, answers as long as those before on the average."""

    def __init__(
        self, writer: GatewayWriter, snapshots: Snapshots, prefixes: Prefixes, rules: Rules, rng: Random
    ) -> None:
        self._writer, self._snapshots, self._prefixes = writer, snapshots, prefixes
        self._rules, self._rng = rules, rng
        self._alone = PlacingAlone(_POOL, writer, rules, rng)
        self._estimator = TokenEstimator()
        self._turns = count()
        self._unbound: dict[int, tuple[Prompt, str]] = {}

    @property
    def degraded(self) -> bool:
        """Whether it places without the shared ledger, for the reasons that scheduler/pool.py has."""
        return self._writer.degraded or self._writer.epoch != self._snapshots.epoch

    def remember(self) -> None:
        """A snapshot was read: what this gateway holds now is in it."""
        self._alone.remember()

    def place(self, request: SimRequest, take: TakePlaced) -> None:
        """See Placer."""
        prompt = self._prefixes.prompt_of(request)
        shape = self._shape(request, prompt)
        self._alone.notice(shape)
        if self.degraded:
            self._place_alone(shape, take)
        elif prompt is None or not self._rules.policy.knows_prefixes:
            self._plan(shape, None, take, {})
        else:
            self._prefixes.look_up(prompt, partial(self._plan, shape, prompt, take))

    def dispatched(self, placed: Placed) -> None:
        """See Placer."""
        self._writer.advance(placed.number, Phase.DISPATCHED)

    def prefill_done(self, placed: Placed, take: Callable[[str], None]) -> None:
        """See Placer."""
        held, snapshots = self._writer.live[placed.number], self._snapshots
        planned = plan_rebinding(
            held, snapshots.view, self._rules, pool_ms=snapshots.pool_ms, chance=self._rng, avoid=_NOBODY
        )
        if planned is None:
            self._writer.advance(placed.number, Phase.PREFILL_DONE)
            self._bound(placed, placed.decode_rank, take)
        elif self.degraded:
            self._rebound(placed, planned, take, None)
        else:
            self._writer.rebind(placed.number, planned.ask, partial(self._rebound, placed, planned, take))

    def first_token(self, placed: Placed) -> None:
        """See Placer."""
        self._writer.advance(placed.number, Phase.FIRST_TOKEN)

    def done(self, placed: Placed, request: SimRequest) -> None:
        """See Placer."""
        self._unbound.pop(placed.number, None)
        self._writer.release(placed.number)
        self._estimator.observe(_API, 0, request.prompt_tokens, request.output_tokens)

    def _shape(self, request: SimRequest, prompt: Prompt | None) -> RequestShape:
        return RequestShape(
            prompt_tokens=request.prompt_tokens,
            output_tokens=self._estimator.output_tokens(_API, request.max_tokens),
            prompt_key=request.key,
            blocks=tuple(prompt.chain.hashes) if prompt else (),
            block_tokens=BLOCK_TOKENS,
            pairable=True,
        )

    def _plan(
        self, shape: RequestShape, prompt: Prompt | None, take: TakePlaced, cached_tokens: dict[str, int]
    ) -> None:
        snapshots = self._snapshots
        shape = msgspec.structs.replace(shape, cached_tokens=cached_tokens)
        planned = plan(
            shape,
            snapshots.view,
            self._rules,
            pool_ms=snapshots.pool_ms,
            turn=next(self._turns),
            chance=self._rng,
        )
        if planned is None:
            take(None)
        else:
            self._writer.place(planned.ask, partial(self._placed, shape, planned, prompt, take))

    def _placed(
        self, shape: RequestShape, planned: Plan, prompt: Prompt | None, take: TakePlaced, answer: StoreAnswer | None
    ) -> None:
        if answer is None:
            self._place_alone(shape, take)
        elif answer.reservation is None:
            take(None)
        else:
            if self._prefixes.may_be_lost:
                self._alone.placed(shape, answer.reservation, self._snapshots.view)
            if prompt:
                self._touch(prompt, answer.reservation_id, answer.reservation, planned)
            take(_named(answer.reservation_id, answer.reservation))

    def _place_alone(self, shape: RequestShape, take: TakePlaced) -> None:
        snapshots = self._snapshots
        decision = self._alone.place(shape, snapshots.view, snapshots.pool_ms, _NOBODY)
        if isinstance(decision, Place):
            take(_named(decision.reservation, self._writer.live[decision.reservation]))
        else:
            take(None)

    def _rebound(self, placed: Placed, planned: Plan, take: Callable[[str], None], answer: StoreAnswer | None) -> None:
        if answer is None:
            leg = self._alone.rebind(placed.number, planned, self._snapshots.view, self._snapshots.pool_ms)
            rank = leg.card.rank if leg else placed.decode_rank
        else:
            rank = answer.reservation.legs[-1].rank if answer.reservation else placed.decode_rank
        self._bound(placed, rank, take)

    def _touch(self, prompt: Prompt, number: int, reservation: Reservation, planned: Plan) -> None:
        rank = planned.ranks[reservation.legs[0].rank]
        self._prefixes.touch(prompt, rank, reservation.uncached_tokens)
        if len(reservation.legs) > 1:
            self._unbound[number] = prompt, rank.card.rank

    def _bound(self, placed: Placed, rank: str, take: Callable[[str], None]) -> None:
        if unbound := self._unbound.pop(placed.number, None):
            (prompt, prefill_rank), ranks = unbound, self._snapshots.view.ranks
            self._prefixes.touch(prompt, ranks[rank], 0, [ranks[prefill_rank]])
        take(rank)


def _named(number: int, reservation: Reservation) -> Placed:
    first, last = reservation.legs[0], reservation.legs[-1]
    assert (first.kind is LegKind.WHOLE) == (first is last)
    return Placed(
        number=number,
        prefill_rank=first.rank,
        decode_rank=last.rank,
        believed_cached_tokens=reservation.prompt_tokens - reservation.uncached_tokens,
    )
