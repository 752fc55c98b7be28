"""Invariant 6: a rank of which nothing is known is not placed on, and silence is not idleness."""

from __future__ import annotations

import pytest

from scheduler.calls import report_row
from tests.invariants.asks import ask, record
from tests.invariants.explained import explain
from tests.invariants.lossy_pool import LossyPool, Sample, with_card
from tests.invariants.raw_gateway import RawGateway
from tests.samples import single


@pytest.fixture
def gateway(pool: LossyPool) -> RawGateway:
    return RawGateway(pool, "a").join()


def test_a_rank_that_was_never_reported_is_not_placed_on(gateway: RawGateway) -> None:
    assert gateway.place(ask(single("r9"))) == [b"reject"]
    assert gateway.place(ask(single("r9"), single("r0", 1e6)))[2] == 2


def test_a_rank_that_was_never_reported_has_no_line_in_the_receipt(gateway: RawGateway) -> None:
    unknown, known = explain(gateway, ask(single("r9"), single("r0")))
    assert unknown is None
    assert known is not None


def test_a_rank_is_unusable_again_after_the_store_lost_what_was_said_of_it(
    pool: LossyPool, gateway: RawGateway
) -> None:
    pool.store.data.clear()
    pool.report(Sample("r1"))
    gateway.join()
    assert gateway.place(ask(single("r0"))) == [b"reject"]
    pool.report(Sample("r0"))
    assert gateway.place(ask(single("r0")))[0] == b"place"


@pytest.mark.parametrize("state", ["down", "gone"])
def test_a_rank_that_is_not_up_is_not_placed_on(pool: LossyPool, gateway: RawGateway, state: str) -> None:
    pool.report(Sample("r0", state=state))
    assert gateway.place(ask(single("r0"))) == [b"reject"]


def test_a_drained_rank_is_not_placed_on_from_that_instant(pool: LossyPool, gateway: RawGateway) -> None:
    assert pool.drain("r0") == [b"ok"]
    assert gateway.place(ask(single("r0"))) == [b"reject"]
    pool.report(Sample("r0"))
    assert gateway.place(ask(single("r0"))) == [b"reject"]
    pool.drain("r0", undo=True)
    assert gateway.place(ask(single("r0")))[0] == b"place"
    pool.report(Sample("r0"))
    assert gateway.place(ask(single("r0")))[0] == b"place"


def test_a_rank_nobody_reported_cannot_be_drained(pool: LossyPool) -> None:
    assert pool.drain("r9") == [b"unknown"]
    assert not pool.rows(pool.keys.drain)


def test_a_rank_whose_agent_fell_silent_keeps_its_reservations_in_the_load(
    pool: LossyPool, gateway: RawGateway
) -> None:
    for _ in range(5):
        gateway.adopt(record(1, "m r0"))
    for _ in range(150):
        pool.store.now_ms += 100
        gateway.renew()
        pool.report(Sample("r1"))
    silent, _ = explain(gateway, ask(single("r0"), single("r1")))
    assert silent is not None
    assert silent.requests == 5
    assert silent.kv == 5 * 111
    assert gateway.place(ask(single("r0", per_request_s=1.0), single("r1", per_request_s=1.0)))[2] == 2


def test_a_seen_row_that_cannot_be_read_is_not_placed_on_until_it_is_reported_anew(
    pool: LossyPool, gateway: RawGateway
) -> None:
    pool.store.data[pool.keys.seen.encode()][b"r0"] = b"v9 something newer"
    assert gateway.place(ask(single("r0"))) == [b"reject"]
    assert pool.tell(report_row(Sample("r0").report()))[2] == [b"r0"]
    pool.report(Sample("r0"))
    assert gateway.place(ask(single("r0")))[0] == b"place"


def test_a_load_row_that_cannot_be_read_is_not_idle(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.adopt(record(1, "m r0"))
    pool.store.data[pool.keys.load.encode()][b"r0 i1"] = b"v9 something newer"
    assert gateway.place(ask(single("r0"))) == [b"reject"]


def test_a_snapshot_tells_of_a_rank_only_what_changed(pool: LossyPool, gateway: RawGateway) -> None:
    first = pool.snapshot()
    assert [row[0] for row in first.rows] == [b"r0", b"r1"]
    assert all(row[3] for row in first.rows)
    gateway.adopt(record(1, "m r1"))
    then = pool.snapshot(first.epoch, first.version)
    assert [(row[0], row[2].split()[3], row[3]) for row in then.rows] == [(b"r1", b"1", b"")]
    assert pool.snapshot(then.epoch, then.version).rows == ()


def test_a_snapshot_has_the_card_of_a_rank_whose_engine_holds_less_than_the_ledger_says(
    pool: LossyPool, gateway: RawGateway
) -> None:
    gateway.adopt(record(3, "m r0"))
    first = pool.snapshot()
    pool.store.now_ms += 300
    pool.report(Sample("r0", "i1", kv_tokens=60), Sample("r1"))
    (row, _) = pool.snapshot(first.epoch, first.version).rows
    assert row[1].split()[5] == b"-40"
    assert row[3]


def test_a_snapshot_tells_of_a_rank_that_left(pool: LossyPool) -> None:
    first = pool.snapshot()
    pool.report(Sample("r0", state="gone"))
    assert pool.snapshot(first.epoch, first.version).rows == ((b"r0", b"", b"", b"", b""),)


def test_a_snapshot_is_not_longer_for_changes_of_nobody(pool: LossyPool, gateway: RawGateway) -> None:
    first = pool.snapshot()
    changes = pool.store.data[pool.keys.change.encode()]
    changes |= {b"%d" % number: float(number % 2 * 10**15) for number in range(4_000)}
    assert [row[0] for row in pool.snapshot().rows] == [b"r0", b"r1"]
    gateway.adopt(record(1, "m r1"))
    assert [row[0] for row in pool.snapshot(first.epoch, first.version).rows] == [b"r1"]


def test_a_snapshot_after_a_change_of_epoch_is_whole(pool: LossyPool) -> None:
    first = pool.snapshot()
    pool.store.data.clear()
    pool.tell(with_card(Sample("r1")))
    assert [row[0] for row in pool.snapshot(first.epoch, first.version).rows] == [b"r1"]


def test_a_snapshot_of_a_replica_that_lags_is_whole(pool: LossyPool) -> None:
    """What we know of later versions is of a suffix that was lost."""
    replica = pool.store.snapshot()
    pool.report(Sample("r0", "i2"), Sample("r1"))
    known = pool.snapshot()
    pool.store.data = replica
    again = pool.snapshot(known.epoch, known.version)
    assert {row[0]: row[1].split()[0] for row in again.rows} == {b"r0": b"i1", b"r1": b"i1"}


def test_a_snapshot_of_thousands_of_ranks_has_them_all(pool: LossyPool) -> None:
    names = [f"r{i}" for i in range(2_001)]
    pool.report(*map(Sample, names))
    assert sorted(row[0].decode() for row in pool.snapshot().rows if row[1] and row[3]) == sorted(names)
