"""Invariant 3: after a lost reply, a lost suffix or a new epoch one resync makes the ledger what the gateway holds."""

from __future__ import annotations

import pytest

from scheduler import calls
from tests.invariants.asks import ask, record
from tests.invariants.checks import check_book, check_settled
from tests.invariants.lossy_pool import Fate, LossyPool, LostError, Sample
from tests.invariants.raw_gateway import RawGateway, RefusedError
from tests.samples import single

SEEN = ("r0 i1", "r1 i1")


@pytest.fixture
def gateway(pool: LossyPool) -> RawGateway:
    return RawGateway(pool, "a").join()


def settled(pool: LossyPool, *gateways: RawGateway) -> None:
    check_settled(pool, {gateway.name: gateway.live for gateway in gateways}, SEEN)


@pytest.mark.parametrize("fate", [Fate.REQUEST_LOST, Fate.REPLY_LOST, Fate.LATE])
def test_a_placement_whose_reply_is_lost_leaves_nothing_after_the_resync(
    pool: LossyPool, gateway: RawGateway, fate: Fate
) -> None:
    gateway.adopt(record(1, "m r1"))
    with pytest.raises(LostError):
        gateway.place(ask(single("r0")), fate)
    gateway.join()
    for call in pool.late:
        assert pool.store.call(call) == [b"resync"]
    settled(pool, gateway)
    gateway.renew()


@pytest.mark.parametrize("lost", [Fate.REQUEST_LOST, Fate.REPLY_LOST, Fate.LATE])
@pytest.mark.parametrize("then", [Fate.REQUEST_LOST, Fate.REPLY_LOST, Fate.LATE])
def test_two_resyncs_whose_replies_are_lost_count_nothing_twice(
    pool: LossyPool, gateway: RawGateway, lost: Fate, then: Fate
) -> None:
    held = [gateway.adopt(record(1, "m r0", "d r1")) for _ in range(3)]
    gateway.in_doubt = True
    gateway.release(held[0])
    for fate in (lost, then):
        with pytest.raises(LostError):
            gateway.join(fate)
        check_book(pool)
    gateway.join()
    for call in pool.late:
        pool.store.call(call)
    pool.report(Sample("r0"), Sample("r1"))
    settled(pool, gateway)
    gateway.renew()


def test_a_resync_that_comes_late_under_a_reaped_name_is_refused(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.adopt(record(1, "m r0"))
    gateway.in_doubt = True
    with pytest.raises(LostError):
        gateway.join(Fate.LATE)
    gateway.join()
    pool.report(Sample("r0"), Sample("r1"))
    assert pool.store.call(pool.late[0]) == [b"resync"]
    settled(pool, gateway)


def test_a_resync_of_more_than_500_moves_piece_by_piece_and_counts_nothing_twice(
    pool: LossyPool, gateway: RawGateway
) -> None:
    for _ in range(1_203):
        gateway.adopt(record(1, "m r0"))
    gateway.begin()
    sent = 0
    while gateway.is_stating:
        gateway.state()
        sent += 1
        check_book(pool)
        assert pool.count().lives["r0 i1"].requests == 1_203
    assert sent == 3
    settled(pool, gateway)


def test_what_changes_between_the_pieces_of_a_resync_is_told_after_it(pool: LossyPool, gateway: RawGateway) -> None:
    held = [gateway.adopt(record(1, "m r0")) for _ in range(5)]
    gateway.begin(piece=2)
    gateway.state()
    gateway.release(held[0])
    gateway.release(held[4])
    gateway.advance(held[1], 3)
    gateway.advance(held[3], 3)
    fresh = gateway.adopt(record(0, "m r1"))
    while gateway.is_stating:
        gateway.state()
        check_book(pool)
    assert set(gateway.live) == {held[1], held[2], held[3], fresh}
    settled(pool, gateway)
    gateway.renew()


def test_a_piece_of_a_resync_that_comes_twice_is_refused(pool: LossyPool, gateway: RawGateway) -> None:
    for _ in range(4):
        gateway.adopt(record(1, "m r0"))
    gateway.begin(piece=2)
    with pytest.raises(LostError):
        gateway.state(Fate.LATE)
    piece = pool.late[0]
    assert pool.store.call(piece) == [b"ok"]
    assert pool.store.call(piece) == [b"resync"]
    check_book(pool)


def test_an_epoch_that_changes_in_the_middle_of_a_resync_refuses_the_rest(pool: LossyPool, gateway: RawGateway) -> None:
    for _ in range(6):
        gateway.adopt(record(1, "m r0"))
    gateway.begin(piece=2)
    gateway.state()
    pool.store.data.clear()
    pool.report(Sample("r0"), Sample("r1"))
    with pytest.raises(RefusedError):
        gateway.state()
    assert not pool.live()
    gateway.join(piece=2)
    settled(pool, gateway)


def test_no_call_of_another_epoch_is_applied(pool: LossyPool, gateway: RawGateway) -> None:
    held = gateway.adopt(record(1, "m r0"))
    before = pool.store.snapshot()
    for deed in (
        lambda: gateway.place(ask(single("r0"))),
        lambda: gateway.advance(held, 2),
        lambda: gateway.release(held),
        gateway.renew,
        gateway.state,
    ):
        gateway.live[held], gateway.pieces, gateway.in_doubt = record(1, "m r0"), [{}], False
        gateway.epoch = "another"
        with pytest.raises(RefusedError):
            deed()
    assert pool.tell(epoch="another") == [b"resync"]
    assert pool.send(calls.reap(pool.keys, "another", pool.lease_ms, gateway.name, 500)) == [b"resync"]
    assert pool.send(calls.drain(pool.keys, "another", pool.lease_ms, "r0")) == [b"resync"]
    assert pool.store.snapshot() == before


def test_a_lost_suffix_of_acknowledged_writes_is_noticed_by_the_next_call(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.adopt(record(1, "m r0"))
    replica = pool.store.snapshot()
    gateway.adopt(record(1, "m r0"))
    pool.store.data = replica
    with pytest.raises(RefusedError):
        gateway.adopt(record(1, "m r1"))
    gateway.join()
    settled(pool, gateway)


def test_a_stale_replica_that_knows_an_older_name_is_put_right_before_that_lease_ends(
    pool: LossyPool, gateway: RawGateway
) -> None:
    """The resync itself was in the lost suffix, so the gateway no longer knows the name the replica has."""
    gateway.adopt(record(1, "m r0"))
    gateway.renew()
    replica = pool.store.snapshot()
    gateway.in_doubt = True
    gateway.join()
    pool.store.data = replica
    with pytest.raises(RefusedError):
        gateway.renew()
    gateway.join()
    pool.lives_on(800, Sample("r0"), Sample("r1"))
    settled(pool, gateway)


def test_two_stale_replicas_promoted_one_after_the_other_leave_nothing(pool: LossyPool, gateway: RawGateway) -> None:
    """The second lags more than the first, so that it knows names from before the first promotion."""
    held = gateway.adopt(record(1, "m r0"))
    gateway.adopt(record(1, "p r0", "d r1"))
    gateway.renew()
    staler = pool.store.snapshot()
    gateway.advance(held, 3)
    stale = pool.store.snapshot()
    gateway.release(held)
    for replica in (stale, staler):
        pool.store.data = replica
        with pytest.raises(RefusedError):
            gateway.renew()
        gateway.join()
        pool.lives_on(400, Sample("r0"), Sample("r1"))
        settled(pool, gateway)


@pytest.mark.parametrize("miscounted", ["a reservation too many", "a reservation too few", "another reservation"])
def test_a_renewal_that_counts_otherwise_is_refused(pool: LossyPool, gateway: RawGateway, miscounted: str) -> None:
    gateway.adopt(record(1, "m r0"))
    gateway.adopt(record(1, "m r0"))
    if miscounted == "a reservation too many":
        gateway._known.add(0)
    elif miscounted == "a reservation too few":
        gateway._known.pop()
    else:
        gateway._known.add(gateway._known.pop() + 1)
    with pytest.raises(RefusedError):
        gateway.renew()
    gateway.join()
    gateway.renew()


def test_a_reservation_is_in_one_set_only_when_a_resync_moves_it(pool: LossyPool, gateway: RawGateway) -> None:
    held = gateway.adopt(record(1, "m r0"))
    gateway.begin()
    gateway.advance(held, 2)
    gateway.state()
    assert pool.live() == {gateway.name: gateway.live}


def test_a_head_that_cannot_be_read_begins_a_new_epoch_without_the_old_sets(
    pool: LossyPool, gateway: RawGateway
) -> None:
    gateway.adopt(record(1, "m r0"))
    former = gateway.epoch
    pool.store.data[pool.keys.head.encode()] = b"nonsense"
    pool.report(Sample("r0"), Sample("r1"))
    assert pool.open() != former
    assert not pool.live()
    gateway.join()
    settled(pool, gateway)


def test_opening_a_pool_that_is_open_changes_nothing(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.adopt(record(1, "m r0"))
    before = pool.store.snapshot()
    reply = pool.send(calls.open_pool(pool.keys, "another"))
    assert reply.decode() == gateway.epoch
    assert pool.store.snapshot() == before
