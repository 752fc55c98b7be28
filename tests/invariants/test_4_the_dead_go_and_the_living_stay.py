"""Invariant 4: a killed gateway's reservations are gone within 3 s of the store's life; a renewing one's never go."""

from __future__ import annotations

import pytest

from scheduler.pace import LATEST_REPORT_MS
from tests.invariants.asks import ask, record
from tests.invariants.checks import check_settled
from tests.invariants.lossy_pool import LEASE_MS, LossyPool, Sample
from tests.invariants.raw_gateway import RawGateway
from tests.samples import single

RENEW_MS = 500
GONE_WITHIN_MS = 3_000
FREEZE_MS = 10_000
SAMPLES = (Sample("r0"), Sample("r1"))


@pytest.fixture
def gateway(pool: LossyPool) -> RawGateway:
    gateway = RawGateway(pool, "a").join()
    gateway.adopt(record(1, "m r0"))
    return gateway


def test_a_killed_gateways_reservations_go_without_any_traffic(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.renew()
    pool.lives_on(LEASE_MS - 400, *SAMPLES)
    assert pool.live() == {gateway.name: gateway.live}
    pool.lives_on(GONE_WITHIN_MS - LEASE_MS, *SAMPLES)
    check_settled(pool, {}, ["r0 i1", "r1 i1"])


def test_a_sole_agent_that_reports_as_seldom_as_it_may_is_often_enough(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.renew()
    pool.lives_on(GONE_WITHIN_MS, *SAMPLES, every_ms=LEASE_MS // 4)
    check_settled(pool, {}, ["r0 i1", "r1 i1"])


def test_the_slow_agents_of_a_large_pool_move_its_time_together(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.renew()
    for turn in range(GONE_WITHIN_MS * 4 // LATEST_REPORT_MS):
        pool.store.now_ms += LATEST_REPORT_MS // 4
        pool.report(Sample(f"r{turn % 4}"), owner=f"node/{turn % 4}")
    check_settled(pool, {}, [f"r{number} i1" for number in range(4)])


def test_a_killed_gateways_reservations_go_under_the_traffic_of_others(pool: LossyPool, gateway: RawGateway) -> None:
    other = RawGateway(pool, "b").join()
    for _ in range(GONE_WITHIN_MS // 100):
        pool.store.now_ms += 100
        other.place(ask(single("r0"), single("r1")))
        other.renew()
        pool.report(*SAMPLES)
    check_settled(pool, {other.name: other.live}, ["r0 i1", "r1 i1"])
    assert len(other.live) == GONE_WITHIN_MS // 100


def test_a_lease_is_whole_after_each_renewal(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.renew()
    assert pool.leases()[gateway.name] == pool.pool_ms + LEASE_MS


def test_a_lease_is_whole_after_a_resync(pool: LossyPool, gateway: RawGateway) -> None:
    assert pool.leases()[gateway.name] == pool.pool_ms + LEASE_MS


def test_each_piece_of_a_resync_renews_the_lease(pool: LossyPool, gateway: RawGateway) -> None:
    for _ in range(3):
        gateway.adopt(record(1, "m r0"))
    gateway.begin(piece=1)
    while gateway.is_stating:
        gateway.state()
        name = gateway.name
        pool.lives_on(1_600, *SAMPLES)
    assert name in pool.leases()
    check_settled(pool, {gateway.name: gateway.live}, ["r0 i1", "r1 i1"])


def test_a_stream_that_lasts_an_hour_stays_while_its_gateway_renews(pool: LossyPool, gateway: RawGateway) -> None:
    for _ in range(3_600_000 // RENEW_MS // 10):
        pool.store.now_ms += RENEW_MS
        gateway.renew()
        pool.report(*SAMPLES)
    check_settled(pool, {gateway.name: gateway.live}, ["r0 i1", "r1 i1"])


def test_a_gateway_that_misses_three_renewals_is_still_there(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.renew()
    pool.lives_on(2_000, *SAMPLES, every_ms=250)
    assert gateway.renew()[0] == b"ok"


def test_a_lease_that_ends_at_this_very_instant_has_not_ended(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.renew()
    pool.lives_on(LEASE_MS, *SAMPLES, every_ms=250)
    assert pool.tell()[3] == []
    assert pool.reap(gateway.name) == [b"ok", 0]
    assert pool.live()
    pool.store.now_ms += 1
    assert pool.tell()[3] == [gateway.name.encode()]
    pool.reap(gateway.name)
    assert not pool.live()


def test_a_living_gateway_is_not_reaped_by_name(pool: LossyPool, gateway: RawGateway) -> None:
    assert pool.reap(gateway.name) == [b"ok", 0]
    assert pool.live() == {gateway.name: gateway.live}


@pytest.mark.parametrize("jump_ms", [FREEZE_MS, 3_600_000, -5_000, -3_600_000])
def test_no_living_gateway_is_reaped_by_a_freeze_or_another_hosts_clock(
    pool: LossyPool, gateway: RawGateway, jump_ms: int
) -> None:
    gateway.renew()
    pool.store.now_ms += 400
    pool.report(*SAMPLES)
    pool.store.now_ms += jump_ms
    pool.report(*SAMPLES)
    pool.report(*SAMPLES)
    assert gateway.renew()[0] == b"ok"
    check_settled(pool, {gateway.name: gateway.live}, ["r0 i1", "r1 i1"])


@pytest.mark.parametrize("jump_ms", [FREEZE_MS, -5_000])
def test_a_dead_gateway_still_goes_within_three_seconds_of_the_stores_life(
    pool: LossyPool, gateway: RawGateway, jump_ms: int
) -> None:
    pool.lives_on(800, *SAMPLES)
    pool.store.now_ms += jump_ms
    pool.lives_on(GONE_WITHIN_MS - 800, *SAMPLES)
    check_settled(pool, {}, ["r0 i1", "r1 i1"])


def test_nothing_is_reaped_by_the_call_that_finds_that_time_has_jumped(pool: LossyPool, gateway: RawGateway) -> None:
    pool.lives_on(LEASE_MS - 400, *SAMPLES)
    for jump_ms in (LEASE_MS + 1, -1):
        pool.store.now_ms += jump_ms
        assert pool.reap(gateway.name) == [b"ok", 0]
        pool.store.now_ms += jump_ms
        assert pool.tell()[3] == []
    assert pool.live()
    pool.store.now_ms += 500
    assert pool.tell()[3] == [gateway.name.encode()]


@pytest.mark.parametrize("heartbeat_ms", [400, 500, 501, 600, 1_000])
def test_a_dead_gateway_goes_however_rarely_the_only_agent_reports(
    pool: LossyPool, gateway: RawGateway, heartbeat_ms: int
) -> None:
    for _ in range(6):
        pool.store.now_ms += heartbeat_ms
        for ended in pool.tell()[3]:
            pool.reap(ended.decode())
    assert gateway.live
    assert not pool.live()


def test_pool_time_moves_by_a_quarter_of_the_lease_at_most_and_never_back(pool: LossyPool) -> None:
    moved = []
    for step in (0, 7, 500, 501, 10_000, -1, -10_000, 3):
        before = pool.pool_ms
        pool.store.now_ms += step
        pool.tell()
        moved.append(pool.pool_ms - before)
    assert moved == [0, 7, 500, 500, 500, 0, 0, 3]


def test_many_dead_gateways_go_in_time(pool: LossyPool) -> None:
    for i in range(50):
        RawGateway(pool, f"g{i}").join().adopt(record(1, "m r0"))
    pool.lives_on(GONE_WITHIN_MS, *SAMPLES)
    check_settled(pool, {}, ["r0 i1", "r1 i1"])


def test_gateways_reap_one_another_where_no_agent_is_left(pool: LossyPool, gateway: RawGateway) -> None:
    other = RawGateway(pool, "b").join()
    for _ in range(GONE_WITHIN_MS // RENEW_MS):
        pool.store.now_ms += RENEW_MS
        other.renew()
    check_settled(pool, {other.name: {}}, ["r0 i1", "r1 i1"])
