"""Invariant 3: after a lost reply, a lost suffix or a new epoch one resync makes the ledger what the gateway holds."""

from __future__ import annotations

import pytest

from scheduler import calls
from tests.invariants.asks import ask, record, whole
from tests.invariants.bench import Bench, Fate, LostError, Sample
from tests.invariants.checks import check_book, check_settled
from tests.invariants.raw_gateway import RawGateway, RefusedError

SEEN = ("r0 i1", "r1 i1")


@pytest.fixture
def gateway(bench: Bench) -> RawGateway:
    return RawGateway(bench, "a").join()


def settled(bench: Bench, *gateways: RawGateway) -> None:
    check_settled(bench, {gateway.name: gateway.live for gateway in gateways}, SEEN)


@pytest.mark.parametrize("fate", [Fate.REQUEST_LOST, Fate.REPLY_LOST, Fate.LATE])
def test_a_placement_whose_reply_is_lost_leaves_nothing_after_the_resync(
    bench: Bench, gateway: RawGateway, fate: Fate
) -> None:
    gateway.adopt(record(1, "m r1"))
    with pytest.raises(LostError):
        gateway.place(ask(whole("r0")), fate)
    gateway.join()
    for call in bench.late:
        assert bench.store.call(call) == [b"resync"]
    settled(bench, gateway)
    gateway.renew()


@pytest.mark.parametrize("lost", [Fate.REQUEST_LOST, Fate.REPLY_LOST, Fate.LATE])
@pytest.mark.parametrize("then", [Fate.REQUEST_LOST, Fate.REPLY_LOST, Fate.LATE])
def test_two_resyncs_whose_replies_are_lost_count_nothing_twice(
    bench: Bench, gateway: RawGateway, lost: Fate, then: Fate
) -> None:
    held = [gateway.adopt(record(1, "m r0", "d r1")) for _ in range(3)]
    gateway.in_doubt = True
    gateway.release(held[0])
    for fate in (lost, then):
        with pytest.raises(LostError):
            gateway.join(fate)
        check_book(bench)
    gateway.join()
    for call in bench.late:
        bench.store.call(call)
    bench.report(Sample("r0"), Sample("r1"))
    settled(bench, gateway)
    gateway.renew()


def test_a_resync_that_comes_late_under_a_reaped_name_is_refused(bench: Bench, gateway: RawGateway) -> None:
    gateway.adopt(record(1, "m r0"))
    gateway.in_doubt = True
    with pytest.raises(LostError):
        gateway.join(Fate.LATE)
    gateway.join()
    bench.report(Sample("r0"), Sample("r1"))
    assert bench.store.call(bench.late[0]) == [b"resync"]
    settled(bench, gateway)


def test_a_resync_of_more_than_500_moves_piece_by_piece_and_counts_nothing_twice(
    bench: Bench, gateway: RawGateway
) -> None:
    for _ in range(1_203):
        gateway.adopt(record(1, "m r0"))
    gateway.begin()
    sent = 0
    while gateway.is_stating:
        gateway.state()
        sent += 1
        check_book(bench)
        assert bench.count().lives["r0 i1"].requests == 1_203
    assert sent == 3
    settled(bench, gateway)


def test_what_changes_between_the_pieces_of_a_resync_is_told_after_it(bench: Bench, gateway: RawGateway) -> None:
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
        check_book(bench)
    assert set(gateway.live) == {held[1], held[2], held[3], fresh}
    settled(bench, gateway)
    gateway.renew()


def test_a_piece_of_a_resync_that_comes_twice_is_refused(bench: Bench, gateway: RawGateway) -> None:
    for _ in range(4):
        gateway.adopt(record(1, "m r0"))
    gateway.begin(piece=2)
    with pytest.raises(LostError):
        gateway.state(Fate.LATE)
    piece = bench.late[0]
    assert bench.store.call(piece) == [b"ok"]
    assert bench.store.call(piece) == [b"resync"]
    check_book(bench)


def test_an_epoch_that_changes_in_the_middle_of_a_resync_refuses_the_rest(bench: Bench, gateway: RawGateway) -> None:
    for _ in range(6):
        gateway.adopt(record(1, "m r0"))
    gateway.begin(piece=2)
    gateway.state()
    bench.store.data.clear()
    bench.report(Sample("r0"), Sample("r1"))
    with pytest.raises(RefusedError):
        gateway.state()
    assert not bench.live()
    gateway.join(piece=2)
    settled(bench, gateway)


def test_no_call_of_another_epoch_is_applied(bench: Bench, gateway: RawGateway) -> None:
    held = gateway.adopt(record(1, "m r0"))
    before = bench.store.snapshot()
    for deed in (
        lambda: gateway.place(ask(whole("r0"))),
        lambda: gateway.advance(held, 2),
        lambda: gateway.release(held),
        gateway.renew,
        gateway.state,
    ):
        gateway.live[held], gateway.pieces, gateway.in_doubt = record(1, "m r0"), [{}], False
        gateway.epoch = "another"
        with pytest.raises(RefusedError):
            deed()
    assert bench.tell(epoch="another") == [b"resync"]
    assert bench.send(calls.reap(bench.keys, "another", bench.lease_ms, gateway.name, 500)) == [b"resync"]
    assert bench.send(calls.drain(bench.keys, "another", bench.lease_ms, "r0")) == [b"resync"]
    assert bench.store.snapshot() == before


def test_a_lost_suffix_of_acknowledged_writes_is_noticed_by_the_next_call(bench: Bench, gateway: RawGateway) -> None:
    gateway.adopt(record(1, "m r0"))
    replica = bench.store.snapshot()
    gateway.adopt(record(1, "m r0"))
    bench.store.data = replica
    with pytest.raises(RefusedError):
        gateway.adopt(record(1, "m r1"))
    gateway.join()
    settled(bench, gateway)


def test_a_stale_replica_that_knows_an_older_name_is_put_right_before_that_lease_ends(
    bench: Bench, gateway: RawGateway
) -> None:
    """The resync itself was in the lost suffix, so the gateway no longer knows the name the replica has."""
    gateway.adopt(record(1, "m r0"))
    gateway.renew()
    replica = bench.store.snapshot()
    gateway.in_doubt = True
    gateway.join()
    bench.store.data = replica
    with pytest.raises(RefusedError):
        gateway.renew()
    gateway.join()
    bench.lives_on(800, Sample("r0"), Sample("r1"))
    settled(bench, gateway)


def test_two_stale_replicas_promoted_one_after_the_other_leave_nothing(bench: Bench, gateway: RawGateway) -> None:
    """The second lags more than the first, so that it knows names from before the first promotion."""
    held = gateway.adopt(record(1, "m r0"))
    gateway.adopt(record(1, "p r0", "d r1"))
    gateway.renew()
    staler = bench.store.snapshot()
    gateway.advance(held, 3)
    stale = bench.store.snapshot()
    gateway.release(held)
    for replica in (stale, staler):
        bench.store.data = replica
        with pytest.raises(RefusedError):
            gateway.renew()
        gateway.join()
        bench.lives_on(400, Sample("r0"), Sample("r1"))
        settled(bench, gateway)


@pytest.mark.parametrize("miscounted", ["a reservation too many", "a reservation too few", "another reservation"])
def test_a_renewal_that_counts_otherwise_is_refused(bench: Bench, gateway: RawGateway, miscounted: str) -> None:
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


def test_a_reservation_is_in_one_set_only_when_a_resync_moves_it(bench: Bench, gateway: RawGateway) -> None:
    held = gateway.adopt(record(1, "m r0"))
    gateway.begin()
    gateway.advance(held, 2)
    gateway.state()
    assert bench.live() == {gateway.name: gateway.live}


def test_a_head_that_cannot_be_read_begins_a_new_epoch_without_the_old_sets(bench: Bench, gateway: RawGateway) -> None:
    gateway.adopt(record(1, "m r0"))
    former = gateway.epoch
    bench.store.data[bench.keys.head.encode()] = b"nonsense"
    bench.report(Sample("r0"), Sample("r1"))
    assert bench.open() != former
    assert not bench.live()
    gateway.join()
    settled(bench, gateway)


def test_opening_a_pool_that_is_open_changes_nothing(bench: Bench, gateway: RawGateway) -> None:
    gateway.adopt(record(1, "m r0"))
    before = bench.store.snapshot()
    reply = bench.send(calls.open_pool(bench.keys, "another"))
    assert reply.decode() == gateway.epoch
    assert bench.store.snapshot() == before
