"""Invariant 11: one request at a time finds out for all whether a rank is well again, however long it takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scheduler.breaker import OPEN_MS, TICKET_MS, UNPROBED_MS
from scheduler.decision import Place
from tests.invariants.failing_ranks import SHAPE, serve, serve_for, states, three_gateways
from tests.invariants.virtual_fleet import Gateway, VirtualFleet

RARELY_MS = 300
"""Between two requests of a gateway that has few."""


@pytest.fixture
def fleet() -> Iterator[VirtualFleet]:
    with three_gateways() as fleet:
        yield fleet


def place_on(fleet: VirtualFleet, gateway: Gateway, rank: str, *, within_ms: int = 10_000) -> Place:
    """A request that stays there."""
    for _ in range(0, within_ms, RARELY_MS):
        place = fleet.do(gateway.place(SHAPE))
        assert isinstance(place, Place)
        if place.legs[0].card.rank == rank:
            return place
        fleet.do(gateway.release(place.reservation))
        fleet.run(RARELY_MS)
    raise AssertionError(f"no request came to {rank}")


def keep_busy(fleet: VirtualFleet, *gateways: Gateway) -> None:
    """Each has requests on all ranks but the one that is left out."""
    for gateway in gateways:
        for _ in range(8):
            fleet.do(gateway.place(SHAPE))


def test_a_probe_of_a_gateway_with_few_requests_is_the_only_one_too(fleet: VirtualFleet) -> None:
    serve_for(fleet, 2_000, failing=frozenset({"r1"}))
    first, *others = fleet.gateways
    keep_busy(fleet, *others)
    fleet.run(OPEN_MS)
    place_on(fleet, first, "r1")
    for _ in range(0, 3 * TICKET_MS, 50):
        assert "r1" not in {serve(fleet, gateway) for gateway in others}
        fleet.run(50)


def test_a_probe_that_takes_long_is_the_only_one_for_as_long(fleet: VirtualFleet) -> None:
    serve_for(fleet, 2_000, failing=frozenset({"r1"}))
    first = fleet.gateways[0]
    keep_busy(fleet, *fleet.gateways)
    fleet.run(OPEN_MS)
    probe = place_on(fleet, first, "r1")
    for _ in range(0, UNPROBED_MS + 10_000, 500):
        assert "r1" not in {serve(fleet, gateway) for gateway in fleet.gateways}
        fleet.run(500)
    first.pool.heard(probe.legs[0].card, True, probe.reservation)
    fleet.run(1_000)
    assert states(fleet) == [{}] * 3


@pytest.mark.parametrize("well", [True, False])
def test_an_answer_to_a_request_of_before_says_nothing_of_the_probe(fleet: VirtualFleet, well: bool) -> None:
    first = fleet.gateways[0]
    before = place_on(fleet, first, "r1")
    serve_for(fleet, 2_000, failing=frozenset({"r1"}))
    fleet.run(OPEN_MS)
    keep_busy(fleet, *fleet.gateways)
    probe = place_on(fleet, first, "r1")
    first.pool.heard(before.legs[0].card, well, before.reservation)
    fleet.run(1_000)
    assert states(fleet) == [{"r1": "half-open"}] * 3
    first.pool.heard(probe.legs[0].card, not well, probe.reservation)
    fleet.run(500)
    assert states(fleet) == [{"r1": "open"} if well else {}] * 3


def test_of_ranks_that_fail_those_that_stay_are_probed_too(fleet: VirtualFleet) -> None:
    everything = frozenset({"r0", "r1", "r2"})
    serve_for(fleet, 3_000, failing=everything)
    assert states(fleet) == [dict.fromkeys(sorted(everything), "open")] * 3
    serve_for(fleet, 3 * OPEN_MS)
    assert states(fleet) == [{}] * 3
