"""Invariant 7: with Redis slow or gone, gateways go on from the last snapshot and their own counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from scheduler.decision import Place, RequestShape
from scheduler.settings import SchedulerSettings
from tests.invariants.faulty_link import Fate
from tests.invariants.virtual_fleet import Gateway, VirtualFleet

SETTINGS = SchedulerSettings()
RANKS = {f"r{i}": "" for i in range(8)}


@pytest.fixture
def fleet() -> Iterator[VirtualFleet]:
    fleet = VirtualFleet(SETTINGS, ranks=RANKS, report_ms=400, timeout_ms=500)
    try:
        fleet.run(50)
        for _ in range(3):
            fleet.start_gateway()
        fleet.run(600)
        yield fleet
    finally:
        fleet.close()


def place(fleet: VirtualFleet, gateway: Gateway, key: str = "k", tokens: int = 100) -> tuple[Place, float]:
    """The decision, and how long it took in ms."""
    started = fleet.loop.time()
    shape = RequestShape(prompt_tokens=tokens, output_tokens=10, prompt_key=key)
    decision = fleet.do(gateway.place(shape))
    assert isinstance(decision, Place), decision
    return decision, (fleet.loop.time() - started) * 1000


def rank_of(decision: Place) -> str:
    return decision.legs[0].card.rank


def test_a_slow_store_costs_a_request_50_ms_and_after_three_in_a_row_nothing(fleet: VirtualFleet) -> None:
    gateway = fleet.gateways[0]
    fleet.server.freeze(10.0)
    took = []
    for _ in range(5):
        decision, ms = place(fleet, gateway)
        assert decision.alone
        took.append(round(ms))
    assert took == [50, 50, 50, 0, 0]
    assert gateway.pools.degraded
    assert gateway.pools.ready


def test_one_slow_answer_degrades_nothing(fleet: VirtualFleet) -> None:
    gateway = fleet.gateways[0]
    gateway.link.fates.append(Fate.SLOW)
    assert place(fleet, gateway)[0].alone
    assert not gateway.pools.degraded
    fleet.run(2_000)
    assert not place(fleet, gateway)[0].alone
    fleet.run(600)
    assert fleet.differences() == []


def test_a_closed_connection_degrades_at_once(fleet: VirtualFleet) -> None:
    gateway = fleet.gateways[0]
    fleet.server.is_down = True
    decision, ms = place(fleet, gateway)
    assert decision.alone
    assert ms < 5
    assert gateway.pools.degraded


def test_a_request_that_is_being_placed_when_the_store_dies_is_placed(fleet: VirtualFleet) -> None:
    gateway = fleet.gateways[0]
    gateway.link.fates.append(Fate.REPLY_LOST)
    decision, _ = place(fleet, gateway)
    assert decision.alone
    fleet.run(1_500)
    assert fleet.differences() == []


def test_alone_all_gateways_send_equal_prompts_to_the_same_two_ranks(fleet: VirtualFleet) -> None:
    fleet.server.is_down = True
    fleet.run(600)
    used = set()
    for key in map(str, range(40)):
        ranks = {rank_of(place(fleet, gateway, key)[0]) for gateway in fleet.gateways for _ in range(4)}
        assert len(ranks) <= 2
        used |= ranks
    assert used == set(RANKS)


def test_alone_a_gateway_counts_what_it_placed_and_what_it_gave_back(fleet: VirtualFleet) -> None:
    gateway = fleet.gateways[0]
    fleet.server.is_down = True
    fleet.run(600)
    placed = [place(fleet, gateway)[0] for _ in range(20)]
    assert set(Counter(map(rank_of, placed)).values()) == {10}
    light = rank_of(placed[0])
    for decision in placed:
        if rank_of(decision) == light:
            fleet.do(gateway.release(decision.reservation))
    assert [rank_of(place(fleet, gateway)[0]) for _ in range(10)] == [light] * 10


def test_alone_the_last_snapshot_still_counts(fleet: VirtualFleet) -> None:
    """What other gateways had placed before the store was lost is not forgotten."""
    one, other = fleet.gateways[:2]
    heavy = {rank_of(place(fleet, one, tokens=4_000)[0]) for _ in range(4)}
    assert len(heavy) == 4
    fleet.run(600)
    fleet.server.is_down = True
    fleet.run(600)
    alone = Counter(rank_of(place(fleet, other, key)[0]) for key in map(str, range(20)))
    assert sum(alone[rank] for rank in heavy) < 8


def test_when_the_store_is_back_all_is_told_within_two_seconds(fleet: VirtualFleet) -> None:
    fleet.server.is_down = True
    for gateway in fleet.gateways:
        for _ in range(10):
            decision, _ = place(fleet, gateway)
        fleet.do(gateway.release(decision.reservation))
    fleet.run(10_000)
    fleet.server.is_down = False
    fleet.run(2_000)
    assert fleet.differences() == []
    assert not any(gateway.pools.degraded for gateway in fleet.gateways)
    assert not place(fleet, fleet.gateways[0])[0].alone


@pytest.mark.parametrize(("round_trip_ms", "is_back"), [(60, False), (10, True)])
def test_after_a_loss_a_gateway_asks_again_once_an_answer_comes_in_time(
    fleet: VirtualFleet, round_trip_ms: int, *, is_back: bool
) -> None:
    gateway = fleet.gateways[0]
    fleet.server.is_down = True
    fleet.run(1_000)
    assert gateway.pools.degraded
    gateway.link.latency_s = round_trip_ms / 2000
    fleet.server.is_down = False
    fleet.run(3_000)
    assert gateway.pools.degraded is not is_back
    assert place(fleet, gateway)[0].alone is not is_back


def test_a_store_that_froze_for_ten_seconds_has_lost_and_reaped_nothing(fleet: VirtualFleet) -> None:
    for gateway in fleet.gateways:
        for _ in range(3):
            place(fleet, gateway)
    fleet.server.freeze(10.0)
    fleet.run(10_000)
    for _ in range(20):
        fleet.run(100)
        assert sum(sums.requests for sums in fleet.pool.count().lives.values()) >= 9
    assert fleet.differences() == []


def test_a_gateway_that_never_met_the_store_is_not_ready(fleet: VirtualFleet) -> None:
    fleet.server.is_down = True
    newcomer = fleet.start_gateway()
    fleet.run(2_000)
    assert not newcomer.pools.ready
    fleet.server.is_down = False
    fleet.run(2_000)
    assert newcomer.pools.ready
    assert newcomer.pools.names() == ["sim"]
