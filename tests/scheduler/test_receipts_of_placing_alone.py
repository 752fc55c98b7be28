"""Whatever a pool looks like: what a gateway decides without the store comes out again from its receipt."""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from scheduler.decision import Candidate, Place, RequestShape
from scheduler.messages import Phase
from scheduler.placing_alone import PlacingAlone
from scheduler.planning import Plan, Rules
from scheduler.policies import POLICIES
from scheduler.rebinding import plan_rebinding, shape_of
from scheduler.receipt import Receipt
from scheduler.receipt_making import Case, Maker, Outcome, make
from scheduler.reservation import Reservation
from scheduler.view import PoolView
from tests.invariants.profiles import examples
from tests.scheduler.drawn_pools import NIXL, pools
from tests.scheduler.receipt_scene import POOL, case_of, shapes, wrong_with


class Book:
    """A gateway's own reservations, which no store is told of."""

    def __init__(self) -> None:
        self.live: dict[int, Reservation] = {}
        self.counters: Counter[str] = Counter()

    def adopt(self, reservation: Reservation) -> int:
        self.live[len(self.live) + 1] = reservation
        return len(self.live)

    def bind(self, reservation_id: int, decode: Candidate) -> None:
        self.live[reservation_id] = self.live[reservation_id].bound_to(decode)

    def advance(self, reservation_id: int, phase: Phase) -> None:
        self.live[reservation_id] = self.live[reservation_id].at(phase)


class Kept:
    """The receipts of decisions, made at once."""

    def __init__(self, policy: str) -> None:
        self._maker = Maker(pool=POOL, gateway="g", policy=policy, rules="r", connectors=NIXL)
        self.receipts: list[Receipt] = []

    def keep(self, case: Case, planned: Plan, outcome: Outcome) -> None:
        self.receipts.append(make(case, planned, outcome, self._maker))


@examples(60)
@given(
    of=pools(1),
    shape=shapes,
    policy=st.sampled_from(sorted(POLICIES)),
    seed=st.integers(0, 1 << 53),
    avoid=st.frozensets(st.sampled_from([f"{role}{number}" for role in "mpd" for number in range(6)])),
)
async def test_a_decision_comes_out_again(
    of: PoolView, shape: RequestShape, policy: str, seed: int, avoid: frozenset[str]
) -> None:
    book, kept, rules = Book(), Kept(policy), Rules(policy=POLICIES[policy], connectors=NIXL)
    alone = PlacingAlone(POOL, book, rules, Random(1), kept)  # type: ignore[arg-type]  # all of it that is used
    for number in range(3):
        case = case_of(of, shape, 0, seed + number, avoid)
        decision = alone.place(shape, of, case.pool_ms, avoid, case)
        if not isinstance(decision, Place) or len(decision.legs) == 1:
            continue
        held = book.live[decision.reservation]
        planned = plan_rebinding(held, of, rules, pool_ms=case.pool_ms, chance=Random(case.seed), avoid=avoid)
        if planned:
            case = msgspec.structs.replace(case, shape=shape_of(held), held=held)
            alone.rebind(decision.reservation, planned, of, case.pool_ms, case)
    assert sum(receipt.held is None for receipt in kept.receipts) == book.counters["placed_alone"]
    for receipt in kept.receipts:
        assert await wrong_with(receipt) == []
