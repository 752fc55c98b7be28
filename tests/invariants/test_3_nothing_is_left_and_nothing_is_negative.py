"""Invariant 3: release is idempotent and fenced, no counter goes negative, and no path leaves a difference for long."""

from __future__ import annotations

import pytest

from scheduler.decision import LegKind
from tests.invariants.asks import ask, pair, record
from tests.invariants.checks import check_book, check_settled
from tests.invariants.lossy_pool import Fate, LossyPool, LostError, Sample
from tests.invariants.raw_gateway import RawGateway, RefusedError
from tests.samples import leg, single

SEEN = ("r0 i1", "r1 i1")


@pytest.fixture
def gateway(pool: LossyPool) -> RawGateway:
    return RawGateway(pool, "a").join()


def settled(pool: LossyPool, *gateways: RawGateway) -> None:
    check_settled(pool, {gateway.name: gateway.live for gateway in gateways}, SEEN)


def test_releasing_twice_gives_back_once(pool: LossyPool, gateway: RawGateway) -> None:
    keep, gone = gateway.adopt(record(1, "m r0")), gateway.adopt(record(1, "m r0"))
    gateway.release(gone)
    gateway.live[gone] = ""
    gateway.release(gone)
    assert list(gateway.live) == [keep]
    settled(pool, gateway)
    gateway.renew()


def test_releasing_what_was_never_placed_does_nothing(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.live[7] = ""
    gateway.release(7)
    settled(pool, gateway)
    gateway.renew()


@pytest.mark.parametrize("phase", [0, 1, 2, 3])
@pytest.mark.parametrize("legs", [("m r0 i1 g",), ("p r0 i1 g", "d r1 i1 g"), ("p r0", "d r0")])
def test_a_release_in_any_phase_leaves_nothing(
    pool: LossyPool, gateway: RawGateway, legs: tuple[str, ...], phase: int
) -> None:
    held = gateway.adopt(record(0, *legs))
    for step in range(1, phase + 1):
        gateway.advance(held, step)
        check_book(pool)
    gateway.release(held)
    assert pool.count() == ({}, {})
    settled(pool, gateway)


def test_what_place_reserved_is_what_release_gives_back(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.place(pair(leg(LegKind.PREFILL, "r0", group="g"), leg(LegKind.DECODE, "r1", group="g")))
    gateway.place(ask(single("r1", group="g")))
    settled(pool, gateway)
    gateway.renew()
    for held in list(gateway.live):
        gateway.release(held)
    assert pool.count() == ({}, {})


def test_a_release_that_is_applied_twice_is_refused_the_second_time(pool: LossyPool, gateway: RawGateway) -> None:
    keep = gateway.adopt(record(1, "m r0"))
    gone = gateway.adopt(record(1, "m r0"))
    with pytest.raises(LostError):
        gateway.release(gone, Fate.LATE)
    assert pool.store.call(pool.late[0]) == [b"ok"]
    assert pool.store.call(pool.late[0]) == [b"resync"]
    gateway.join()
    assert list(gateway.live) == [keep]
    settled(pool, gateway)


def test_a_rank_that_left_keeps_its_page_until_the_last_reservation_on_it_ends(
    pool: LossyPool, gateway: RawGateway
) -> None:
    held = [gateway.adopt(record(1, "m r0")), gateway.adopt(record(2, "p r0", "d r1"))]
    pool.report(Sample("r0", state="gone"))
    check_book(pool)
    gateway.release(held[0])
    check_book(pool)
    assert "r0 i1" in pool.loads()
    gateway.release(held[1])
    check_settled(pool, {gateway.name: {}}, ["r1 i1"])


def test_an_agent_that_says_goodbye_and_returns_finds_its_ranks_as_loaded_as_they_were(
    pool: LossyPool, gateway: RawGateway
) -> None:
    held = gateway.adopt(record(1, "m r0"))
    pool.report(Sample("r0", state="gone"))
    pool.report(Sample("r0", requests=1))
    settled(pool, gateway)
    assert pool.rows(pool.keys.seen)["r0"].split()[4] == "0"
    gateway.release(held)
    settled(pool, gateway)


def test_a_load_row_that_is_not_ours_has_the_pool_rebuilt(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.adopt(record(1, "m r0"))
    pool.store.data[pool.keys.load.encode()][b"r0 i1"] = b"-1 0 0 0 0 0 0 0"
    pool.report(Sample("r0"), Sample("r1"))
    pool.report(Sample("r0"), Sample("r1"))
    with pytest.raises(RefusedError):
        gateway.renew()
    gateway.join()
    settled(pool, gateway)
