"""Invariant 1 over all interleavings: a placement sees exactly what all gateways hold."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.invariants.explained import Saw, explain, explain_rebinding
from tests.invariants.ledger_machine import LedgerMachine, which
from tests.invariants.profiles import examples
from tests.invariants.raw_gateway import RawGateway, RefusedError
from tests.invariants.recount import Sums, recount


class SeeingMachine(LedgerMachine):
    """Every placement and every rebinding is explained, and its receipt held against a recount."""

    @rule(who=which)
    def place_and_look(self, who: int) -> None:
        self.look(who, lambda gateway: explain(gateway, self.ask_for(("m",), 100)))

    @rule(who=which, pick=st.integers(0, 99))
    def rebind_and_look(self, who: int, pick: int) -> None:
        if pairs := self.gateways[who].before_first_token():
            pair = pairs[pick % len(pairs)]
            self.look(who, lambda gateway: explain_rebinding(gateway, pair, self.ask_for(("d",), 100)))

    def look(self, who: int, explained: Callable[[RawGateway], list[Saw | None]]) -> None:
        gateway = self.gateways[who]
        self.report()
        lives = [f"{rank} i{life}" for rank, life in self.lives.items()]
        known = set(lives) & set(self.known_lives())
        if gateway.in_doubt or not known:
            return
        live = self.pool.live()
        count = recount(record for held in live.values() for record in held.values())
        try:
            receipt = explained(gateway)
        except RefusedError:
            assert gateway in self.excused
            return
        for life, seen in zip(lives, receipt, strict=True):
            assert (seen is not None) == (life in known)
            if seen is None:
                continue
            sums = count.lives.get(life, Sums())
            assert (round(seen.queued, 6), seen.requests) == (sums.queued, sums.requests)
            assert seen.kv == sums.unseen_kv + sums.engine_kv + sums.growth


SeeingMachine.TestCase.settings = examples(60, steps=40)
test_every_placement_sees_what_all_hold = SeeingMachine.TestCase
