"""Invariant 2: a report never erases what the engine had not seen, and double counting is bounded.

The requests load of a rank is the ledger's own and what is foreign: the least, over the last 2 s, of what the engine
counted less what the ledger had dispatched when the sample was taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.invariants.asks import ask, record
from tests.invariants.explained import Saw, explain
from tests.invariants.lossy_pool import LossyPool, Sample
from tests.invariants.raw_gateway import RawGateway
from tests.samples import single


@pytest.fixture
def gateway(pool: LossyPool) -> RawGateway:
    return RawGateway(pool, "a").join()


def look(gateway: RawGateway, rank: str = "r0") -> Saw:
    """What a placement sees of a rank; it goes elsewhere itself."""
    seen = explain(gateway, ask(single("r1"), single(rank, 1e6)))
    assert seen[1] is not None
    return seen[1]


def newest_sample(pool: LossyPool) -> int:
    """What the last report of r0 found beyond the ledger's own."""
    return int(pool.rows(pool.keys.seen)["r0"].split()[11].rpartition(":")[2])


def steadily(gateway: RawGateway, samples: Sequence[Sample]) -> None:
    """A report every 100 ms, and the gateway's renewals beside them."""
    for sample in samples:
        gateway.pool.store.now_ms += 100
        gateway.renew()
        gateway.pool.report(sample, Sample("r1"))


def test_a_sample_from_before_the_dispatch_leaves_the_reservation_in_the_load(
    pool: LossyPool, gateway: RawGateway
) -> None:
    pool.store.now_ms += 300
    gateway.adopt(record(1, "m r0"))
    pool.store.now_ms += 100
    pool.report(Sample("r0", age_ms=200, requests=0), Sample("r1"))
    assert look(gateway)[1:3] == (1, 111)


def test_a_request_that_is_counted_by_engine_and_ledger_counts_once(pool: LossyPool, gateway: RawGateway) -> None:
    gateway.adopt(record(1, "m r0"))
    steadily(gateway, [Sample("r0", requests=1, age_ms=50)] * 30)
    assert look(gateway).requests == 1


@pytest.mark.parametrize("phase", [0, 1])
def test_a_decode_rank_that_waits_for_a_prefill_counts_its_request_once(
    pool: LossyPool, gateway: RawGateway, phase: int
) -> None:
    gateway.adopt(record(phase, "p r1", "w r0"))
    steadily(gateway, [Sample("r0", requests=1, age_ms=50)] * 30)
    assert look(gateway).requests == 1


def test_requests_of_others_count_when_they_have_been_there_for_two_seconds(
    pool: LossyPool, gateway: RawGateway
) -> None:
    steadily(gateway, [Sample("r0", requests=3)] * 19)
    assert look(gateway).requests == 0
    steadily(gateway, [Sample("r0", requests=3)] * 3)
    assert look(gateway).requests == 3


def test_requests_of_others_that_left_are_forgotten_at_once(pool: LossyPool, gateway: RawGateway) -> None:
    steadily(gateway, [Sample("r0", requests=3)] * 30)
    steadily(gateway, [Sample("r0", requests=1)])
    assert look(gateway).requests == 1


def test_the_least_of_two_seconds_is_remembered_for_two_seconds(pool: LossyPool, gateway: RawGateway) -> None:
    steadily(gateway, [Sample("r0", requests=5)] * 25)
    steadily(gateway, [Sample("r0", requests=2), *[Sample("r0", requests=4)] * 19])
    assert look(gateway).requests == 2
    steadily(gateway, [Sample("r0", requests=4)] * 2)
    assert look(gateway).requests == 4


def test_a_request_that_reaches_the_engine_800_ms_late_is_never_missing(pool: LossyPool, gateway: RawGateway) -> None:
    steadily(gateway, [Sample("r0", requests=0)] * 25)
    gateway.adopt(record(1, "m r0"))
    for engine in [0] * 8 + [1] * 30:
        steadily(gateway, [Sample("r0", requests=engine)])
        assert look(gateway).requests == 1


def test_a_late_request_beside_those_of_others_hides_no_more_than_itself(pool: LossyPool, gateway: RawGateway) -> None:
    steadily(gateway, [Sample("r0", requests=4)] * 25)
    gateway.adopt(record(1, "m r0"))
    seen = []
    for engine in [4] * 8 + [5] * 30:
        steadily(gateway, [Sample("r0", requests=engine)])
        seen.append(look(gateway).requests)
    assert min(seen) == 4
    assert seen[-1] == 5


def test_an_abort_that_leaves_the_engine_a_second_late_is_not_counted_again(
    pool: LossyPool, gateway: RawGateway
) -> None:
    held = [gateway.adopt(record(3, "m r0")) for _ in range(6)]
    steadily(gateway, [Sample("r0", requests=6)] * 25)
    for reservation in held:
        gateway.release(reservation)
    for engine in [6] * 10 + [0] * 25:
        steadily(gateway, [Sample("r0", requests=engine)])
        assert look(gateway).requests == 0


@pytest.mark.parametrize("age_steps", range(10))
def test_the_past_is_looked_up_at_the_samples_age(pool: LossyPool, gateway: RawGateway, age_steps: int) -> None:
    """Ten were dispatched 100 ms apart; of the 20 in the engine the younger ones are not ours."""
    pool.store.now_ms += 100
    for _ in range(10):
        gateway.adopt(record(1, "m r0"))
        pool.store.now_ms += 100
    pool.report(Sample("r0", "i1", age_ms=100 * age_steps + 50, requests=20))
    assert newest_sample(pool) == 20 - (10 - age_steps)


def test_kv_in_the_engine_at_the_sample_and_dispatched_since_add_up(pool: LossyPool, gateway: RawGateway) -> None:
    """The engine says 1,000 used; one of ours with 100 is in that, another is on its way with 100 + 11."""
    gateway.adopt(record(3, "m r0"))
    pool.store.now_ms += 300
    pool.report(Sample("r0", kv_tokens=1_000), Sample("r1"))
    gateway.adopt(record(1, "m r0"))
    assert look(gateway).kv == 1_000 + 5 + 111


def test_kv_that_entered_the_engine_after_the_sample_is_added_to_it(pool: LossyPool, gateway: RawGateway) -> None:
    held = gateway.adopt(record(1, "m r0"))
    pool.store.now_ms += 300
    gateway.advance(held, 3)
    pool.store.now_ms += 100
    pool.report(Sample("r0", kv_tokens=1_000, age_ms=200), Sample("r1"))
    assert look(gateway).kv == 1_000 + 100 + 5


def test_kv_that_left_after_the_sample_is_taken_off_but_never_below_nothing(
    pool: LossyPool, gateway: RawGateway
) -> None:
    held = gateway.adopt(record(3, "m r0"))
    pool.store.now_ms += 300
    pool.report(Sample("r0", kv_tokens=60), Sample("r1"))
    gateway.release(held)
    assert look(gateway).kv == 0


@pytest.mark.parametrize(("age_ms", "share"), [(2_000, 1.0), (4_000, 0.75), (9_200, 0.1), (10_000, 0.0), (15_000, 0)])
def test_what_engines_said_fades_from_two_to_ten_seconds_of_age(
    pool: LossyPool, gateway: RawGateway, age_ms: int, share: float
) -> None:
    gateway.adopt(record(1, "m r0"))
    steadily(gateway, [Sample("r0", requests=9, kv_tokens=1_000)] * 25)
    for _ in range(age_ms // 100):
        pool.store.now_ms += 100
        gateway.renew()
        pool.report(Sample("r1"))
    seen = look(gateway)
    assert seen.age_ms == age_ms
    assert seen.requests == pytest.approx(1 + share * 8)
    assert seen.kv == pytest.approx(111 + share * 1_000)


def test_the_history_reaches_two_seconds_back_under_steady_traffic(pool: LossyPool, gateway: RawGateway) -> None:
    for _ in range(200):
        pool.store.now_ms += 20
        gateway.adopt(record(1, "m r0"))
    pool.report(Sample("r0", age_ms=1_500, requests=300))
    assert newest_sample(pool) == 300 - 125


def test_a_sample_of_the_very_instant_of_a_dispatch_has_it(pool: LossyPool, gateway: RawGateway) -> None:
    pool.store.now_ms += 100
    gateway.adopt(record(1, "m r0"))
    pool.store.now_ms += 100
    pool.report(Sample("r0", age_ms=100, requests=1))
    assert newest_sample(pool) == 0


def test_what_was_released_after_the_sample_was_ours_when_it_was_taken(pool: LossyPool, gateway: RawGateway) -> None:
    held = [gateway.adopt(record(1, "m r0")) for _ in range(6)]
    pool.store.now_ms += 300
    for reservation in held:
        gateway.release(reservation)
    pool.store.now_ms += 100
    pool.report(Sample("r0", age_ms=200, requests=6), Sample("r1"))
    assert newest_sample(pool) == 0


def test_a_snapshot_says_what_time_the_next_placement_will_see(pool: LossyPool) -> None:
    for step, moves in ((300, 300), (501, 500), (10_000, 500), (-5_000, 0)):
        before = pool.pool_ms
        pool.store.now_ms += step
        assert pool.snapshot().pool_ms == before + moves
        pool.tell()
        assert pool.pool_ms == before + moves


def test_kv_that_entered_the_engine_before_the_sample_counts_once(pool: LossyPool, gateway: RawGateway) -> None:
    held = gateway.adopt(record(1, "m r0"))
    pool.store.now_ms += 100
    gateway.advance(held, 3)
    pool.store.now_ms += 100
    pool.report(Sample("r0", kv_tokens=100, age_ms=50), Sample("r1"))
    assert look(gateway).kv == 100 + 5


def test_the_history_is_as_fine_as_20_ms_however_fast_it_goes(pool: LossyPool, gateway: RawGateway) -> None:
    for _ in range(100):
        pool.store.now_ms += 10
        gateway.adopt(record(1, "m r0"))
    pool.report(Sample("r0", age_ms=500, requests=50))
    assert abs(newest_sample(pool)) <= 2


def test_the_history_of_a_busy_rank_stays_short(pool: LossyPool, gateway: RawGateway) -> None:
    for _ in range(400):
        pool.store.now_ms += 20
        gateway.adopt(record(1, "m r0"))
    past = pool.rows(pool.keys.hist)
    assert len(past["r0 i1"]) < 600
    assert len(past["r0 i1 older"]) == 2_048


def test_a_dispatched_request_is_remembered_beside_one_that_is_told_of_with_it(pool: LossyPool) -> None:
    gateway = RawGateway(pool, "b")
    gateway.live = {pool.fresh_id(): record(1, "m r0"), pool.fresh_id(): record(0, "m r0")}
    gateway.join()
    pool.store.now_ms += 100
    pool.report(Sample("r0", requests=1), Sample("r1"))
    assert newest_sample(pool) == 0
