"""Invariant 1 where a prefill is done: the decode leg is chosen on what all hold, and seen by whoever comes next."""

from __future__ import annotations

import pytest

from scheduler.decision import LegKind
from tests.invariants.asks import ask, record
from tests.invariants.lossy_pool import LossyPool
from tests.invariants.raw_gateway import RawGateway
from tests.invariants.recount import recount
from tests.samples import leg


@pytest.fixture
def gateways(pool: LossyPool) -> tuple[RawGateway, RawGateway]:
    return RawGateway(pool, "a").join(), RawGateway(pool, "b").join()


def test_a_rebinding_is_seen_by_the_very_next_one(pool: LossyPool, gateways: tuple[RawGateway, RawGateway]) -> None:
    ranks = tuple(leg(LegKind.DECODE, f"r{i}", per_request_s=1.0) for i in range(2))
    for turn in range(12):
        gateway = gateways[turn % 2]
        pair_held = gateway.adopt(record(1, "p r0", "d gone"))
        assert gateway.rebind(pair_held, ask(decodes=ranks))[0] == b"place"
        gateway.advance(pair_held, 3)
    counts = pool.count().lives
    assert [counts[life].requests for life in ("r0 i1", "r1 i1")] == [6, 6]


@pytest.mark.parametrize("near", ["a", "x"])
def test_a_rebinding_compares_all_place_classes(gateways: tuple[RawGateway, RawGateway], near: str) -> None:
    far = "x" if near == "a" else "a"
    held = gateways[0].adopt(record(1, "p r0", "d gone"))
    ranks = (leg(LegKind.DECODE, "r0", 2.0, place_class=far), leg(LegKind.DECODE, "r1", 1.0, place_class=near))
    assert gateways[0].rebind(held, ask(decodes=ranks))[1:3] == [b"1.000000000", 2]


def test_equal_decode_ranks_are_shared_out_by_the_tie_break_and_unequal_ones_are_not(
    gateways: tuple[RawGateway, RawGateway],
) -> None:
    held = gateways[0].adopt(record(1, "p r0", "d gone"))
    for dearer_by_s, taken in ((0.0, [1, 2]), (0.1, [1, 1])):
        ranks = (leg(LegKind.DECODE, "r0"), leg(LegKind.DECODE, "r1", dearer_by_s))
        asks = [ask(decodes=ranks, tie_s=1.0, tie_break=tie) for tie in (0.2, 0.7)]
        assert [gateways[0].rebind(held, each)[2] for each in asks] == taken


def test_a_rebinding_that_finds_no_rank_is_prefilled_all_the_same(
    pool: LossyPool, gateways: tuple[RawGateway, RawGateway]
) -> None:
    one, other = gateways
    held = one.adopt(record(1, "p r0", "d r1 i1 g"))
    assert one.rebind(held, ask(decodes=(leg(LegKind.DECODE, "unheard of"),))) == [b"reject"]
    assert pool.count() == recount([record(2, "p r0", "d r1 i1 g")])
    other.adopt(record(0, "m r0 i1 g"))
    one.rebind(held, ask(decodes=(leg(LegKind.DECODE, "r1", group="g"),)))
    assert pool.count() == recount([record(2, "p r0", "d r1 i1 g"), record(0, "m r0 i1 g")])
    one.renew()
