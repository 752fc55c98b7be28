"""Invariant 3 where a prefill is done: whatever became of the call, the gateway and the ledger soon name one leg."""

from __future__ import annotations

import pytest

from scheduler import calls
from scheduler.calls import Head
from scheduler.decision import LegKind
from tests.invariants.asks import ask, record
from tests.invariants.checks import check_settled
from tests.invariants.lossy_pool import Fate, LossyPool, LostError
from tests.invariants.raw_gateway import RawGateway, RefusedError
from tests.samples import leg

SEEN = ("r0 i1", "r1 i1")


@pytest.fixture
def gateway(pool: LossyPool) -> RawGateway:
    return RawGateway(pool, "a").join()


@pytest.mark.parametrize("fate", [Fate.REQUEST_LOST, Fate.REPLY_LOST, Fate.LATE])
def test_a_rebinding_whose_reply_is_lost_is_prefilled_on_its_old_legs_after_the_resync(
    pool: LossyPool, gateway: RawGateway, fate: Fate
) -> None:
    held = gateway.adopt(record(1, "p r0", "d r0"))
    with pytest.raises(LostError):
        gateway.rebind(held, ask(decodes=(leg(LegKind.DECODE, "r1"),)), fate)
    gateway.join()
    for call in pool.late:
        assert pool.store.call(call) == [b"resync"]
    assert gateway.live == {held: record(2, "p r0", "d r0")}
    check_settled(pool, {gateway.name: gateway.live}, SEEN)
    gateway.renew()


def test_a_rebinding_of_what_the_store_lost_is_refused_until_it_is_stated_again(
    pool: LossyPool, gateway: RawGateway
) -> None:
    held = gateway.adopt(record(1, "p r0", "d r0"))
    to_r1 = ask(decodes=(leg(LegKind.DECODE, "r1"),))
    pool.send(calls.release(pool.keys, Head(pool.open(), pool.lease_ms, gateway.name, gateway.number + 1), [held]))
    gateway.number += 1
    with pytest.raises(RefusedError):
        gateway.rebind(held, to_r1)
    assert pool.live() == {}
    gateway.join()
    assert gateway.rebind(held, to_r1)[0] == b"place"
    assert gateway.live == {held: record(2, "p r0", "d r1")}
    check_settled(pool, {gateway.name: gateway.live}, SEEN)
