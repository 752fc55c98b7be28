"""Reservations, and how the ledger spells them."""

from __future__ import annotations

from scheduler.decision import LegKind
from scheduler.messages import Phase
from scheduler.reservation import Reservation, ReservedLeg, reserve
from tests.samples import ask, single
from tests.scheduler.samples import held


def test_a_reservation_is_spelt_as_the_ledger_reads_it() -> None:
    legs = (ReservedLeg(LegKind.PREFILL, "a", "i1", "-"), ReservedLeg(LegKind.DECODE, "b", "i2", "g"))
    pair = Reservation(phase=Phase.DISPATCHED, uncached_tokens=60, prompt_tokens=100, output_tokens=10, legs=legs)
    assert pair.record() == "1 60 100 10 p a i1 - d b i2 g"


def test_a_decode_leg_that_waits_is_spelt_as_one() -> None:
    legs = (ReservedLeg(LegKind.PREFILL, "a", "i1", "-"), ReservedLeg(LegKind.DECODE, "b", "i2", "g"))
    pair = Reservation(phase=Phase.PLACED, uncached_tokens=60, prompt_tokens=100, output_tokens=10, legs=legs)
    waiting = pair.with_decode_waiting()
    assert waiting.record() == "0 60 100 10 p a i1 - w b i2 g"
    assert waiting.at(Phase.DISPATCHED).with_decode_waiting().record() == "1 60 100 10 p a i1 - w b i2 g"


def test_a_phase_only_moves_on() -> None:
    reservation = held(LegKind.WHOLE, Phase.DISPATCHED)
    assert reservation.at(Phase.FIRST_TOKEN).phase is Phase.FIRST_TOKEN
    assert reservation.at(Phase.PLACED) is reservation


def test_placing_an_ask_makes_a_placed_reservation() -> None:
    assert reserve(ask(), (single("a"),)).record() == "0 100 100 10 m a i1 -"


def test_a_reservation_queues_what_its_own_rank_would_compute() -> None:
    held = single("b", uncached_tokens=20)
    assert reserve(ask(single("a"), held), (held,)).record() == "0 20 100 10 m b i1 -"
