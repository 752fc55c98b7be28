"""Invariant 5: nothing of a rank's old incarnation applies to the next."""

from __future__ import annotations

import pytest

from scheduler.calls import report_row
from scheduler.reporter import CLAIM_MS
from tests.invariants.asks import ask, record
from tests.invariants.checks import check_book, check_settled
from tests.invariants.explained import explain
from tests.invariants.lossy_pool import AGENT, LossyPool, Sample, with_card
from tests.invariants.raw_gateway import RawGateway
from tests.samples import single


@pytest.fixture
def gateway(pool: LossyPool) -> RawGateway:
    return RawGateway(pool, "a").join()


def test_a_new_incarnation_has_no_load(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.adopt(record(1, "m r0"))
    for _ in range(30):
        pool.store.now_ms += 100
        gateway.renew()
        pool.report(Sample("r0", requests=7, kv_tokens=5_000), Sample("r1"))
    pool.report(Sample("r0", "i2"), Sample("r1"))
    seen = explain(gateway, ask(single("r0", incarnation="i2")))[0]
    assert seen is not None
    assert seen[:3] == (0, 0, 0)


def test_requests_of_the_old_life_do_not_make_the_new_ones_look_few(pool: LossyPool, gateway: RawGateway) -> None:
    """The least foreign count of the last 2 s begins anew, and so does what the ledger had dispatched."""
    gateway.adopt(record(1, "m r0"))
    pool.store.now_ms += 100
    pool.report(Sample("r0", requests=1), Sample("r1"))
    pool.store.now_ms += 100
    pool.report(Sample("r0", "i2", requests=4), Sample("r1"))
    seen = explain(gateway, ask(single("r0", incarnation="i2")))[0]
    assert seen is not None
    assert seen.requests == 4


def test_nobody_places_on_an_incarnation_that_is_over(pool: LossyPool, gateway: RawGateway) -> None:
    pool.report(Sample("r0", "i2"), Sample("r1"))
    assert gateway.place(ask(single("r0", incarnation="i1"))) == [b"reject"]
    assert gateway.place(ask(single("r0", incarnation="i2")))[0] == b"place"


def test_reservations_of_the_old_life_are_released_late_without_touching_the_new_one(
    pool: LossyPool, gateway: RawGateway
) -> None:
    old = [gateway.adopt(record(1, "m r0 i1 g")), gateway.adopt(record(2, "p r0 i1 g", "d r1 i1 g"))]
    pool.report(Sample("r0", "i2"), Sample("r1"))
    gateway.adopt(record(1, "m r0 i2 g"))
    for held in old:
        gateway.advance(held, 3)
        check_book(pool)
        gateway.release(held)
        check_book(pool)
    check_settled(pool, {gateway.name: gateway.live}, ["r0 i2", "r1 i1"])
    assert pool.count().lives["r0 i2"].requests == 1


def test_the_old_lifes_page_goes_with_its_last_reservation(pool: LossyPool, gateway: RawGateway) -> None:
    held = gateway.adopt(record(1, "m r0"))
    pool.report(Sample("r0", "i2"), Sample("r1"))
    assert "r0 i1" in pool.loads()
    gateway.release(held)
    assert "r0 i1" not in pool.loads()
    assert "r0 i1" not in pool.rows(pool.keys.hist)


def test_an_old_life_without_reservations_leaves_no_page(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.release(gateway.adopt(record(1, "m r0")))
    assert "r0 i1" in pool.rows(pool.keys.hist)
    pool.report(Sample("r0", "i2"), Sample("r1"))
    assert "r0 i1" not in pool.loads()
    assert "r0 i1" not in pool.rows(pool.keys.hist)


def test_an_old_life_without_reservations_leaves_no_past(pool: LossyPool, gateway: RawGateway) -> None:
    for _ in range(60):
        pool.store.now_ms += 20
        gateway.release(gateway.adopt(record(1, "m r0")))
    assert {"r0 i1", "r0 i1 older"} <= set(pool.rows(pool.keys.hist))
    pool.report(Sample("r0", "i2"), Sample("r1"))
    assert not [field for field in pool.rows(pool.keys.hist) if field.startswith("r0 ")]


def test_a_rank_without_reservations_that_leaves_takes_its_page_along(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.release(gateway.adopt(record(1, "m r0")))
    pool.report(Sample("r0", state="gone"))
    check_settled(pool, {gateway.name: {}}, ["r1 i1"])
    assert "r0" not in pool.rows(pool.keys.card)


def test_a_rank_that_leaves_in_a_life_nobody_heard_of_takes_the_page_of_the_last_one_along(
    pool: LossyPool, gateway: RawGateway
) -> None:
    gateway.release(gateway.adopt(record(1, "m r0")))
    pool.report(Sample("r0", "i2", state="gone"))
    check_settled(pool, {gateway.name: {}}, ["r1 i1"])


def test_a_new_incarnation_is_unknown_until_its_card_is_there(pool: LossyPool, gateway: RawGateway) -> None:
    reply = pool.tell(report_row(Sample("r0", "i2").report()))
    assert reply[2] == [b"r0"]
    assert gateway.place(ask(single("r0", incarnation="i2"))) == [b"reject"]
    assert gateway.place(ask(single("r0")))[0] == b"place"


def test_a_card_is_kept_for_one_incarnation_only(pool: LossyPool) -> None:
    assert pool.tell(report_row(Sample("r0").report()))[2] == []
    pool.report(Sample("r0", "i2"))
    assert pool.tell(report_row(Sample("r0").report()))[2] == [b"r0"]


def test_another_agent_is_refused_and_told_by_whom(pool: LossyPool) -> None:
    reply = pool.tell(with_card(Sample("r0", "i9")), owner="other/2")
    assert reply[1] == [b"r0", AGENT.encode()]
    assert pool.rows(pool.keys.seen)["r0"].startswith("i1 ")


def test_another_agent_takes_over_from_one_that_fell_silent(pool: LossyPool) -> None:
    for _ in range(CLAIM_MS // 500 - 1):
        pool.store.now_ms += 500
        pool.tell()
    pool.store.now_ms += 499
    assert pool.tell(with_card(Sample("r0")), owner="other/2")[1] == [b"r0", AGENT.encode()]
    pool.store.now_ms += 1
    assert pool.tell(with_card(Sample("r0")), owner="other/2")[1] == []


def test_an_old_agent_instance_cannot_speak_for_a_rank_that_was_taken_over(
    pool: LossyPool, gateway: RawGateway
) -> None:
    pool.lives_on(CLAIM_MS, Sample("r1"))
    pool.report(Sample("r0", "i2"), owner="node/2")
    for late in (Sample("r0"), Sample("r0", "i2", state="gone"), Sample("r0", "i2", state="down")):
        assert pool.tell(with_card(late))[1] == [b"r0", b"node/2"]
    gateway.join()
    assert gateway.place(ask(single("r0", incarnation="i2")))[0] == b"place"


def test_a_drained_rank_stays_drained_through_a_restart(pool: LossyPool, gateway: RawGateway) -> None:
    pool.drain("r0")
    pool.report(Sample("r0", "i2"), Sample("r1"))
    assert gateway.place(ask(single("r0", incarnation="i2"))) == [b"reject"]
