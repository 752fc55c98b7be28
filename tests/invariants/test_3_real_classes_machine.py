"""Invariants 3 and 4 on the real Pools and Reporter, in virtual time, over interleavings of everything that goes wrong.

Replies lost before and after their calls were applied, calls that arrive when a resync has overtaken them, answers
beyond the deadline, a server that freezes, dies, comes back empty or stale, clocks that jump, clients that hang up
while they are placed, gateways that are killed or stopped. Leases of 50 ms.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scheduler import writer
from scheduler.decision import RequestShape
from scheduler.messages import Phase
from scheduler.settings import SchedulerSettings
from tests.invariants.checks import check_book
from tests.invariants.faulty_link import Fate
from tests.invariants.lossy_pool import POOL
from tests.invariants.pairs import pairs_of, place_pair, rebind
from tests.invariants.profiles import examples
from tests.invariants.virtual_fleet import Gateway, VirtualFleet

SETTINGS = SchedulerSettings(lease_ms=50, renew_ms=10, place_deadline_ms=5, snapshot_ms=10, probe_ms=5)
GATEWAYS = 3
SETTLED_WITHIN_MS = 2 * SETTINGS.lease_ms
"""A call of 20 ms that is given up, a call that arrives 40 ms late, and a lease, at most two of them in a row."""

which = st.integers(0, GATEWAYS - 1)
amounts = st.integers(1, 150)
works = st.sampled_from([
    "place", "place_pair", "move", "ask", "ask_to_move", "hang_up", "advance", "advance", "rebind", "ask_to_rebind",
    "release", "wait", "wait",
])  # fmt: skip
troubles = st.sampled_from([
    "disturb_the_agent", "cut_off", "end", "restart_rank", "freeze_the_store", "put_the_clock_ahead",
    "put_the_clock_back", "take_the_store_away", "remember_replica", "promote_replica", "restart_store_empty",
])  # fmt: skip


def shape_of(amount: int) -> RequestShape:
    return RequestShape(prompt_tokens=amount, output_tokens=amount // 3, prompt_key=str(amount))


class FleetMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(writer, "PIECE", 2)
        self.fleet = VirtualFleet(SETTINGS, ranks={"r0": "g", "r1": "g", "r2": ""}, report_ms=5, timeout_ms=20)
        self.fleet.run(5)
        for _ in range(GATEWAYS):
            self.fleet.start_gateway()
        self.fleet.run(20)
        self.asking: list[tuple[Gateway, asyncio.Task[Any]]] = []
        self.replica = self.fleet.pool.store.snapshot()

    @rule(deeds=st.lists(st.tuples(which, works, amounts), min_size=8, max_size=30))
    def work(self, deeds: list[tuple[int, str, int]]) -> None:
        for who, work, amount in deeds:
            gateway = self.fleet.gateways[who]
            if gateway.pools.get(POOL) is not None:
                getattr(self, work)(gateway, amount)

    @rule(who=which, fates=st.lists(st.sampled_from(Fate), min_size=1, max_size=4), late_by_ms=st.integers(1, 40))
    def disturb(self, who: int, fates: list[Fate], late_by_ms: int) -> None:
        link = self.fleet.gateways[who].link
        link.late_by_s = late_by_ms / 1000
        link.fates.extend(fates)

    @rule(who=which, trouble=troubles, amount=amounts)
    def trouble(self, who: int, trouble: str, amount: int) -> None:
        getattr(self, trouble)(self.fleet.gateways[who], amount)

    # --- what users do ------------------------------------------------------------------------------------------

    def ask(self, gateway: Gateway, amount: int) -> None:
        """A request that is placed while the machine goes on."""
        self.asking.append((gateway, self.fleet.loop.create_task(gateway.place(shape_of(amount)))))

    def move(self, gateway: Gateway, amount: int) -> None:
        if gateway.held:
            failed = sorted(gateway.held)[amount % len(gateway.held)]
            self.fleet.do(gateway.place(shape_of(amount), failed))

    def ask_to_move(self, gateway: Gateway, amount: int) -> None:
        """A request that is placed anew while the machine goes on."""
        if gateway.held:
            failed = sorted(gateway.held)[amount % len(gateway.held)]
            self.asking.append((gateway, self.fleet.loop.create_task(gateway.place(shape_of(amount), failed))))
            self.fleet.do(asyncio.sleep(0))

    def hang_up(self, _: Gateway, amount: int) -> None:
        if self.asking:
            self.asking.pop(amount % len(self.asking))[1].cancel()

    def place(self, gateway: Gateway, amount: int) -> None:
        self.fleet.do(gateway.place(shape_of(amount)))

    def place_pair(self, gateway: Gateway, amount: int) -> None:
        self.fleet.do(place_pair(self.fleet, gateway, shape_of(amount)))

    def rebind(self, gateway: Gateway, amount: int) -> None:
        if pairs := pairs_of(gateway):
            self.fleet.do(rebind(self.fleet, gateway, pairs[amount % len(pairs)], amount))

    def ask_to_rebind(self, gateway: Gateway, amount: int) -> None:
        """A request that is rebound while the machine goes on; it may be released or advanced meanwhile."""
        if pairs := pairs_of(gateway):
            asking = rebind(self.fleet, gateway, pairs[amount % len(pairs)], amount)
            self.asking.append((gateway, self.fleet.loop.create_task(asking)))

    def advance(self, gateway: Gateway, amount: int) -> None:
        if gateway.held:
            held = sorted(gateway.held)[amount % len(gateway.held)]
            self.fleet.do(gateway.advance(held, Phase(amount % len(Phase))))

    def release(self, gateway: Gateway, amount: int) -> None:
        if gateway.held:
            self.fleet.do(gateway.release(sorted(gateway.held)[amount % len(gateway.held)]))

    def wait(self, _: Gateway, amount: int) -> None:
        self.fleet.run(amount / 10)

    # --- what goes wrong ----------------------------------------------------------------------------------------

    def disturb_the_agent(self, _: Gateway, amount: int) -> None:
        self.fleet.agent_link.fates.extend([list(Fate)[amount % len(Fate)]] * 3)

    def cut_off(self, gateway: Gateway, amount: int) -> None:
        gateway.link.is_cut = True
        self.fleet.run(amount)
        gateway.link.is_cut = False

    def end(self, gateway: Gateway, amount: int) -> None:
        (self.fleet.stop if amount % 2 else self.fleet.kill)(gateway)
        for asker, task in self.asking:
            if asker is gateway:
                task.cancel()
        self.asking = [each for each in self.asking if each[0] is not gateway]
        self.fleet.start_gateway()

    def restart_rank(self, _: Gateway, amount: int) -> None:
        self.fleet.lives[f"r{amount % len(self.fleet.lives)}"] += 1

    def freeze_the_store(self, _: Gateway, amount: int) -> None:
        self.fleet.server.freeze(amount / 500)

    def put_the_clock_ahead(self, _: Gateway, amount: int) -> None:
        self.fleet.server.clock_ahead_ms += amount * amount

    def put_the_clock_back(self, _: Gateway, amount: int) -> None:
        self.fleet.server.clock_ahead_ms -= amount * amount

    def take_the_store_away(self, _: Gateway, amount: int) -> None:
        self.fleet.server.is_down = True
        self.fleet.run(amount)
        self.fleet.server.is_down = False

    def remember_replica(self, _: Gateway, _amount: int) -> None:
        self.replica = self.fleet.pool.store.snapshot()

    def promote_replica(self, gateway: Gateway, amount: int) -> None:
        self.take_the_store_away(gateway, amount // 4)
        self.fleet.pool.store.data = self.replica
        self.replica = self.fleet.pool.store.snapshot()

    def restart_store_empty(self, gateway: Gateway, amount: int) -> None:
        self.take_the_store_away(gateway, amount // 4)
        self.fleet.pool.store.data = {}

    # --- what must hold -----------------------------------------------------------------------------------------

    @invariant()
    def the_book_agrees_with_itself(self) -> None:
        check_book(self.fleet.pool)

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            for _, task in self.asking:
                task.cancel()
            self.fleet.close()
            self.patch.undo()

    def settle(self) -> None:
        """The faults are over: soon there is no difference, and nobody places alone."""
        for gateway in self.fleet.gateways:
            gateway.link.fates.clear()
        self.fleet.agent_link.fates.clear()
        now_s = self.fleet.loop.time()
        self.fleet.run(max(0.0, self.fleet.server.thaws_at_s - now_s) * 1000)
        self.fleet.run(SETTLED_WITHIN_MS)
        assert self.fleet.differences() == []
        assert not any(gateway.pools.degraded for gateway in self.fleet.gateways)


FleetMachine.TestCase.settings = examples(60, steps=30)
test_the_real_classes_settle: Any = FleetMachine.TestCase
