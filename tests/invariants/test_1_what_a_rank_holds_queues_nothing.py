"""Invariant 1, of prompts of which a rank holds a part: the next placement sees what that rank has to compute."""

from __future__ import annotations

import pytest

from scheduler.decision import LegKind
from tests.invariants.explained import explain
from tests.invariants.lossy_pool import LossyPool
from tests.invariants.raw_gateway import RawGateway
from tests.samples import ask, leg, single


@pytest.fixture
def gateways(pool: LossyPool) -> tuple[RawGateway, RawGateway]:
    return RawGateway(pool, "a").join(), RawGateway(pool, "b").join()


def test_the_queue_grows_by_what_the_chosen_rank_computes(gateways: tuple[RawGateway, RawGateway]) -> None:
    one, other = gateways
    one.place(ask(single("r0", 1.0, uncached_tokens=100), single("r1", uncached_tokens=7)))
    seen = explain(other, ask(single("r0"), single("r1")))
    assert [row and row[0] for row in seen] == [0, 7]


def test_a_pairs_queue_is_that_of_its_prefill_rank(gateways: tuple[RawGateway, RawGateway]) -> None:
    one, other = gateways
    pair = ask(
        single("r1", 9.0, uncached_tokens=50),
        prefills=(leg(LegKind.PREFILL, "r0", uncached_tokens=7),),
        decodes=(leg(LegKind.DECODE, "r1"),),
        transfer_s={"a": {"a": 0.0}},
    )
    one.place(pair)
    seen = explain(other, ask(single("r0"), single("r1")))
    assert [row and row[0] for row in seen] == [7, 0]


def test_a_candidate_that_says_nothing_computes_the_whole_prompt(gateways: tuple[RawGateway, RawGateway]) -> None:
    one, other = gateways
    one.place(ask(single("r0"), tokens=90))
    (seen,) = explain(other, ask(single("r0")))
    assert seen is not None
    assert seen[0] == 90
