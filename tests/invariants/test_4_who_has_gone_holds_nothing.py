"""Invariant 4: a gateway that was reaped, left or lives anew holds nothing of its former life."""

from __future__ import annotations

import pytest

from tests.invariants.asks import ask, record
from tests.invariants.checks import check_book, check_settled
from tests.invariants.lossy_pool import LEASE_MS, Fate, LossyPool, LostError, Sample
from tests.invariants.raw_gateway import RawGateway, RefusedError
from tests.samples import single

GONE_WITHIN_MS = 3_000
SAMPLES = (Sample("r0"), Sample("r1"))


@pytest.fixture
def gateway(pool: LossyPool) -> RawGateway:
    gateway = RawGateway(pool, "a").join()
    gateway.adopt(record(1, "m r0"))
    return gateway


def test_a_gateway_that_renews_between_two_pieces_of_its_reaping_must_state_all_anew(
    pool: LossyPool, gateway: RawGateway
) -> None:
    for _ in range(600):
        gateway.adopt(record(1, "m r0"))
    pool.lives_on(1_600, *SAMPLES)
    for _ in range(2):
        pool.store.now_ms += 400
        reply = pool.tell()
    assert reply[3] == [gateway.name.encode()]
    assert pool.reap(gateway.name) == [b"ok", 101]
    with pytest.raises(RefusedError):
        gateway.renew()
    check_book(pool)
    gateway.join()
    check_settled(pool, {gateway.name: gateway.live}, ["r0 i1", "r1 i1"])


def test_a_gateway_that_was_reaped_must_state_all_anew(pool: LossyPool, gateway: RawGateway) -> None:
    pool.lives_on(GONE_WITHIN_MS, *SAMPLES)
    with pytest.raises(RefusedError):
        gateway.renew()
    gateway.join()
    check_settled(pool, {gateway.name: gateway.live}, ["r0 i1", "r1 i1"])


def test_reaping_takes_at_most_500_at_a_time(pool: LossyPool, gateway: RawGateway) -> None:
    for _ in range(1_100):
        gateway.adopt(record(1, "m r0"))
    pool.lives_on(2_000, *SAMPLES)
    pool.store.now_ms += 1
    assert [pool.reap(gateway.name)[1] for _ in range(3)] == [601, 101, 0]
    check_settled(pool, {}, ["r0 i1", "r1 i1"])


def test_what_an_old_name_still_holds_goes_with_the_next_report(pool: LossyPool, gateway: RawGateway) -> None:
    """A placement whose reply was lost is not stated again, and the call that would reap it finds that time jumped."""
    with pytest.raises(LostError):
        gateway.place(ask(single("r1")), Fate.REPLY_LOST)
    gateway.begin()
    pool.store.now_ms += LEASE_MS + 1
    gateway.state()
    pool.report(*SAMPLES)
    check_settled(pool, {gateway.name: gateway.live}, ["r0 i1", "r1 i1"])


def test_a_gateway_that_leaves_holds_nothing_from_then_on(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.renew(wish="leave")
    with pytest.raises(RefusedError):
        gateway.renew()
    pool.report(*SAMPLES)
    check_settled(pool, {}, ["r0 i1", "r1 i1"])


def test_a_gateway_that_left_is_refused_even_before_it_is_reaped(pool: LossyPool, gateway: RawGateway) -> None:
    pool.store.now_ms += LEASE_MS + 1
    gateway.renew(wish="leave")
    with pytest.raises(RefusedError):
        gateway.adopt(record(1, "m r1"))


def test_a_new_life_under_a_used_name_gets_in_and_ends_the_old_one(pool: LossyPool, gateway: RawGateway) -> None:
    again = RawGateway(pool, "a")
    again.live[1] = record(1, "m r1")
    with pytest.raises(RefusedError):
        again.join()
    again.join()
    pool.lives_on(800, *SAMPLES)
    check_settled(pool, {again.name: again.live}, ["r0 i1", "r1 i1"])


def test_reaping_a_name_that_has_no_lease_takes_nothing(pool: LossyPool, gateway: RawGateway) -> None:
    del pool.store.data[pool.keys.lease.encode()][gateway.name.encode()]
    assert pool.reap(gateway.name) == [b"ok", 0]
    assert pool.live() == {gateway.name: gateway.live}
