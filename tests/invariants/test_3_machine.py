"""Invariant 3 over all interleavings: once the faults are over the ledger is exactly what the living hold."""

from __future__ import annotations

from tests.invariants.ledger_machine import LedgerMachine
from tests.invariants.profiles import examples


class SettlingMachine(LedgerMachine):
    """Whatever happened, it settles at the end."""

    def teardown(self) -> None:
        self.settle()


SettlingMachine.TestCase.settings = examples(150, steps=40)
test_the_ledger_is_soon_what_the_living_hold = SettlingMachine.TestCase
