"""Invariant 1 between equals: what is known to cost the same is shared out by chance, and nothing else is."""

from __future__ import annotations

import pytest

from scheduler.decision import LegKind
from tests.invariants.asks import ask
from tests.invariants.lossy_pool import LossyPool, Sample
from tests.invariants.raw_gateway import RawGateway
from tests.samples import leg, single

NO_TRANSFER = {"a": {"a": 0.0}}


@pytest.fixture
def gateways(pool: LossyPool) -> tuple[RawGateway, RawGateway]:
    return RawGateway(pool, "a").join(), RawGateway(pool, "b").join()


def test_costs_within_a_tie_are_shared_out_by_the_tie_break(
    pool: LossyPool, gateways: tuple[RawGateway, RawGateway]
) -> None:
    pool.report(*(Sample(f"r{i}") for i in range(5)))
    ranks = [single(f"r{i}", i / 10) for i in range(5)]
    asks = [ask(*ranks, tie_s=0.35, tie_break=tie) for tie in (0.0, 0.3, 0.5, 0.99)]
    assert [gateways[0].place(each)[2] for each in asks] == [1, 2, 3, 4]


def test_prefills_within_a_tie_are_shared_out_and_decodes_are_only_where_they_are_equal(
    pool: LossyPool, gateways: tuple[RawGateway, RawGateway]
) -> None:
    """What decodes cost is counted, not guessed (docs/adr/0004-ties.md)."""
    pool.report(*(Sample(f"r{i}") for i in range(4)))
    prefills = tuple(leg(LegKind.PREFILL, f"r{i}", i / 10) for i in range(2))
    for dearer_by_s, taken in ((0.1, [[1, 3], [1, 3], [2, 3], [2, 3]]), (0.0, [[1, 3], [1, 4], [2, 3], [2, 4]])):
        decodes = (leg(LegKind.DECODE, "r2"), leg(LegKind.DECODE, "r3", dearer_by_s))
        asks = [
            ask(prefills=prefills, decodes=decodes, transfer_s=NO_TRANSFER, tie_s=0.35, tie_break=tie)
            for tie in (0.0, 0.3, 0.5, 0.99)
        ]
        assert [gateways[0].place(each)[2:4] for each in asks] == taken


def test_the_tie_break_of_the_second_leg_does_not_follow_the_first(
    pool: LossyPool, gateways: tuple[RawGateway, RawGateway]
) -> None:
    pool.report(*(Sample(f"r{i}") for i in range(4)))
    prefills = tuple(leg(LegKind.PREFILL, f"r{i}") for i in range(2))
    decodes = tuple(leg(LegKind.DECODE, f"r{i}") for i in range(2, 4))
    chosen = []
    for tie in (0.0, 0.3, 0.5, 0.99):
        pairs = ask(prefills=prefills, decodes=decodes, transfer_s=NO_TRANSFER, tie_break=tie)
        chosen.append(gateways[0].place(pairs)[2:4])
    assert chosen == [[1, 3], [1, 4], [2, 3], [2, 4]]
