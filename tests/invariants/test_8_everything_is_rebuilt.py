"""Invariant 8: Redis restarted empty, or promoted from a stale replica: everything is rebuilt within 2 s."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scheduler import writer
from scheduler.decision import Place, RequestShape
from scheduler.messages import Phase
from scheduler.settings import SchedulerSettings
from tests.invariants.virtual_fleet import VirtualFleet

WITHIN_MS = 2_000
RANKS = {"r0": "g", "r1": "g", "r2": "", "r3": ""}


@pytest.fixture
def fleet() -> Iterator[VirtualFleet]:
    """Three gateways with twelve requests each, in all phases."""
    fleet = VirtualFleet(SchedulerSettings(), ranks=RANKS, report_ms=400, timeout_ms=500)
    try:
        fleet.run(50)
        for _ in range(3):
            fleet.start_gateway()
        fleet.run(600)
        load(fleet, 12)
        fleet.run(600)
        assert fleet.differences() == []
        yield fleet
    finally:
        fleet.close()


def load(fleet: VirtualFleet, requests: int) -> None:
    """Requests on every gateway, in all phases. None is refused, whatever the store does."""
    for gateway in fleet.gateways:
        for turn in range(requests):
            shape = RequestShape(prompt_tokens=100 + turn, output_tokens=10, prompt_key=str(turn))
            decision = fleet.do(gateway.place(shape))
            assert isinstance(decision, Place), decision
            fleet.do(gateway.advance(decision.reservation, Phase(turn % 4)))


def unload(fleet: VirtualFleet, requests: int) -> None:
    for gateway in fleet.gateways:
        for reservation in sorted(gateway.held)[:requests]:
            fleet.do(gateway.release(reservation))


def test_a_store_that_restarts_empty_is_rebuilt(fleet: VirtualFleet) -> None:
    fleet.server.is_down = True
    fleet.run(1_000)
    unload(fleet, 3)
    fleet.pool.store.data = {}
    fleet.server.is_down = False
    fleet.run(WITHIN_MS)
    assert fleet.differences() == []
    assert {row[0].decode() for row in fleet.pool.snapshot().rows} == set(RANKS)
    assert not any(gateway.pools.degraded for gateway in fleet.gateways)
    assert all(gateway.pools.names() == ["sim"] for gateway in fleet.gateways)


def test_no_request_is_refused_while_the_store_is_rebuilt(fleet: VirtualFleet) -> None:
    fleet.pool.store.data = {}
    for _ in range(WITHIN_MS // 20):
        load(fleet, 1)
        fleet.run(20)
    fleet.run(200)
    assert fleet.differences() == []


def test_a_store_that_restarts_so_fast_that_nobody_notices_is_rebuilt(fleet: VirtualFleet) -> None:
    fleet.pool.store.data = {}
    fleet.run(WITHIN_MS)
    assert fleet.differences() == []


def test_a_stale_replica_is_put_right(fleet: VirtualFleet) -> None:
    replica = fleet.pool.store.snapshot()
    load(fleet, 5)
    unload(fleet, 4)
    fleet.run(400)
    fleet.server.is_down = True
    fleet.run(800)
    load(fleet, 2)
    fleet.pool.store.data = replica
    fleet.server.is_down = False
    fleet.run(WITHIN_MS)
    assert fleet.differences() == []


def test_stale_replicas_promoted_one_after_the_other_are_put_right(fleet: VirtualFleet) -> None:
    staler = fleet.pool.store.snapshot()
    load(fleet, 2)
    fleet.run(100)
    stale = fleet.pool.store.snapshot()
    unload(fleet, 3)
    for replica in (stale, staler):
        fleet.server.clock_ahead_ms -= 3_000
        fleet.pool.store.data = replica
        fleet.run(700)
    fleet.run(WITHIN_MS - 700)
    assert fleet.differences() == []


def test_an_old_master_that_returns_after_an_empty_one_is_put_right(fleet: VirtualFleet) -> None:
    """The old epoch is back, with sets under names of that time."""
    old = fleet.pool.store.snapshot()
    fleet.pool.store.data = {}
    fleet.run(WITHIN_MS)
    unload(fleet, 5)
    fleet.pool.store.data = old
    fleet.run(WITHIN_MS)
    assert fleet.differences() == []


def test_a_store_that_restarts_again_in_the_middle_of_a_resync_is_rebuilt(
    fleet: VirtualFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PIECE", 1)
    for _ in range(4):
        fleet.pool.store.data = {}
        fleet.run(502)
    fleet.run(WITHIN_MS)
    assert fleet.differences() == []


@pytest.mark.parametrize("undo", [False, True])
def test_what_an_operator_said_last_of_a_rank_outlives_a_stale_replica(fleet: VirtualFleet, undo: bool) -> None:
    """The agent heard of it, and says it again."""
    if undo:
        fleet.pool.drain("r0")
        fleet.run(400)
    replica = fleet.pool.store.snapshot()
    fleet.pool.drain("r0", undo=undo)
    fleet.run(400)
    fleet.pool.store.data = replica
    fleet.run(WITHIN_MS)
    assert {gateway.pool.view.ranks["r0"].drained for gateway in fleet.gateways} == {not undo}
    assert not any(gateway.pool.view.ranks["r1"].drained for gateway in fleet.gateways)


def test_a_gateway_that_dies_with_the_store_leaves_nothing(fleet: VirtualFleet) -> None:
    replica = fleet.pool.store.snapshot()
    fleet.kill(fleet.gateways[0])
    fleet.pool.store.data = replica
    fleet.run(3_000)
    assert fleet.differences() == []
