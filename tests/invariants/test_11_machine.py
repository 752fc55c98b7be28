"""Invariant 11 on the real Pools in virtual time, whatever ranks, gateways and the store do."""

from __future__ import annotations

import asyncio

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scheduler.decision import Place, RequestShape
from scheduler.left_out import left_out
from scheduler.messages import RankCard
from scheduler.settings import SchedulerSettings
from tests.invariants.faulty_link import Fate
from tests.invariants.profiles import examples
from tests.invariants.virtual_fleet import Gateway, VirtualFleet

SETTINGS = SchedulerSettings(policy="least_requests")
SHAPE = RequestShape(prompt_tokens=10, output_tokens=10, prompt_key="k")
RANKS = ("r0", "r1", "r2", "r3", "r4")
GATEWAYS = 3

which = st.integers(0, GATEWAYS - 1)
ranks = st.sampled_from(RANKS)


class BreakerMachine(RuleBasedStateMachine):
    """`open`: requests that wait for their rank's answer; `probes`: those of them that are probes, by rank."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = VirtualFleet(SETTINGS, ranks=dict.fromkeys(RANKS, ""), report_ms=200, timeout_ms=700)
        for _ in range(GATEWAYS):
            self.fleet.start_gateway()
        self.fleet.run(2_000)
        self.failing: set[str] = set()
        self.open: list[tuple[Gateway, int, RankCard]] = []
        self.probes: dict[str, list[int]] = {}

    def place(self, gateway: Gateway) -> tuple[Gateway, int, RankCard] | None:
        left_out, degraded = gateway.pool.left_out, gateway.pool.degraded
        place = self.fleet.do(gateway.place(SHAPE))
        if not isinstance(place, Place):
            return None
        card = place.legs[0].card
        if card.rank in left_out and not (place.alone or degraded):
            self.probes.setdefault(card.rank, []).append(place.reservation)
            assert len(self.probes[card.rank]) == 1, f"{card.rank} is probed twice"
        return gateway, place.reservation, card

    def answer(self, request: tuple[Gateway, int, RankCard], *, left: bool = False) -> None:
        gateway, reservation, card = request
        if not left:
            gateway.pool.heard(card, card.rank not in self.failing, reservation)
        self.fleet.do(gateway.release(reservation))
        for probes in self.probes.values():
            if reservation in probes:
                probes.remove(reservation)

    @rule(who=st.lists(which, min_size=1, max_size=25), every_ms=st.sampled_from([1, 20, 200]))
    def serve(self, who: list[int], every_ms: int) -> None:
        for number in who:
            if request := self.place(self.fleet.gateways[number]):
                self.answer(request)
            self.fleet.run(every_ms)

    @rule(who=st.lists(which, min_size=1, max_size=5))
    def begin(self, who: list[int]) -> None:
        self.open += filter(None, [self.place(self.fleet.gateways[number]) for number in who])

    @rule(number=st.integers(0, 9), left=st.booleans())
    def end(self, number: int, left: bool) -> None:
        if self.open:
            self.answer(self.open.pop(number % len(self.open)), left=left)

    @rule(rank=ranks)
    def fails(self, rank: str) -> None:
        self.failing.add(rank)

    @rule()
    def all_fail(self) -> None:
        self.failing = set(RANKS)

    @rule(rank=ranks)
    def is_well(self, rank: str) -> None:
        self.failing.discard(rank)

    @rule(rank=ranks)
    def restarts(self, rank: str) -> None:
        self.fleet.lives[rank] += 1
        self.failing.discard(rank)
        self.probes.pop(rank, None)  # of the former life

    @rule(ms=st.sampled_from([50, 500, 2_000, 12_000]))
    def wait(self, ms: int) -> None:
        self.fleet.run(ms)

    @rule(who=which, fates=st.lists(st.sampled_from([Fate.SLOW, Fate.REPLY_LOST, Fate.REQUEST_LOST]), max_size=3))
    def disturb(self, who: int, fates: list[Fate]) -> None:
        """Whoever holds tickets may lose them by it."""
        self.fleet.gateways[who].link.fates.extend(fates)
        self.fleet.run(3_000)
        self.probes.clear()

    @rule()
    def begin_anew(self) -> None:
        self.fleet.pool.store.data = {}
        self.fleet.run(3_000)
        self.probes.clear()

    @invariant()
    def never_more_than_half_are_left_out(self) -> None:
        for gateway in self.fleet.gateways:
            assert len(gateway.pool.left_out) <= len(RANKS) // 2

    @invariant()
    def by_the_same_snapshot_all_leave_out_the_same(self) -> None:
        views = [gateway.pool.view for gateway in self.fleet.gateways]
        for one in views:
            for other in views:
                if (one.epoch, one.version) == (other.epoch, other.version):
                    now_ms = max(one.pool_ms, other.pool_ms)
                    assert left_out(one, {}, now_ms) == left_out(other, {}, now_ms)

    def teardown(self) -> None:
        """When all ranks are well and are asked, all are back, and nothing is remembered."""
        try:
            self.all_are_back()
        finally:
            self.fleet.close()

    def all_are_back(self) -> None:
        self.failing.clear()
        for waiting in self.open:
            self.answer(waiting)
        for _ in range(90):
            for gateway in self.fleet.gateways:
                if request := self.place(gateway):
                    self.answer(request)
            self.fleet.do(asyncio.sleep(1))
        assert [gateway.pool.left_out for gateway in self.fleet.gateways] == [frozenset()] * GATEWAYS
        assert self.fleet.pool.rows(self.fleet.pool.keys.breaker) == {}
        self.fleet.run(1_000)
        assert self.fleet.differences() == []


TestBreakers = BreakerMachine.TestCase
TestBreakers.settings = examples(8, steps=15)
