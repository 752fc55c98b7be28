"""Invariant 1: a request that is placed anew sees what all others hold, and nothing of where it failed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.invariants.asks import ask
from tests.invariants.lossy_pool import LossyPool
from tests.invariants.raw_gateway import RawGateway
from tests.invariants.recount import recount
from tests.samples import single


@pytest.mark.parametrize("group_price", [{}, {"per_group_request_s": 1.0}], ids=["of ranks", "of groups"])
def test_a_placement_instead_of_one_that_failed_sees_all_others_and_not_that(
    pool: LossyPool, group_price: dict[str, Any]
) -> None:
    one, other = RawGateway(pool, "a").join(), RawGateway(pool, "b").join()
    legs = [single(f"r{i}", group="gh"[i], per_request_s=1.0, **group_price) for i in range(2)]
    one.place(ask(legs[0]))
    (failed,) = one.live
    for leg_of_other in legs:
        other.place(ask(leg_of_other))
    assert one.place(ask(*legs, tie_break=0.0), instead_of=failed)[2] == 1
    assert one.pool.live()[one.name] == one.live
    assert one.pool.count() == recount(record for held in one.pool.live().values() for record in held.values())
