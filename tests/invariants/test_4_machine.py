"""Invariant 4 over all interleavings: the dead go in time, and nothing that is renewed is ever reaped."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests.invariants.ledger_machine import LedgerMachine, which
from tests.invariants.lossy_pool import stems
from tests.invariants.machine_pool import LEASE_MS, TICK_MS
from tests.invariants.profiles import examples

GONE_WITHIN_MS = LEASE_MS + 3 * TICK_MS
"""Of the store's life: a lease, and the next reports."""


class LeaseMachine(LedgerMachine):
    """Counts for each killed gateway how long the store has lived since; a jump of its clock is no life."""

    def __init__(self) -> None:
        super().__init__()
        self.age_ms: dict[str, int] = {}
        self.has_jumped = False

    @rule(who=which)
    def kill(self, who: int) -> None:
        self.age_ms[self.gateways[who].stem] = 0
        super().kill(who)

    @rule(pick=st.integers(0, 99))
    def a_late_call_arrives(self, pick: int) -> None:
        """It may be a killed gateway's last word, which begins its lease anew."""
        if self.pool.late:
            super().a_late_call_arrives(pick)
            self.age_ms = dict.fromkeys(self.age_ms, 0)

    def tick(self) -> None:
        super().tick()
        for stem in self.age_ms:
            self.age_ms[stem] += 0 if self.has_jumped else TICK_MS
        self.has_jumped = False

    def jump_clock(self, ms: int) -> None:
        super().jump_clock(ms)
        self.has_jumped = True

    def replace_data(self, data: dict[bytes, object]) -> None:
        super().replace_data(data)
        self.age_ms = dict.fromkeys(self.age_ms, 0)

    @invariant()
    def the_dead_are_gone_in_time(self) -> None:
        held = stems(self.pool.live())
        for stem, age_ms in self.age_ms.items():
            assert age_ms < GONE_WITHIN_MS or stem not in held, f"{stem} has been dead for {age_ms} ms"


LeaseMachine.TestCase.settings = examples(100, steps=60)
test_the_dead_go_and_the_living_stay = LeaseMachine.TestCase
