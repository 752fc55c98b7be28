"""Why a rank that a client names cannot take its request."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scheduler.messages import RankState
from scheduler.named_rank import Fault, fault_of
from tests.scheduler.samples import pd_rank, view


def fault(rank: str, asked: str = "", **seen: Any) -> Fault | None:
    each = pd_rank(rank)
    return fault_of(view(msgspec.structs.replace(each, seen=msgspec.structs.replace(each.seen, **seen))), asked or rank)


@pytest.mark.parametrize("rank", ["m1", "d1"])
def test_ranks_that_answer_clients_and_are_up_can_be_named(rank: str) -> None:
    assert fault(rank) is None


def test_nobody_is_answered_by_a_prefill_rank_or_one_that_is_not_there() -> None:
    assert fault("p1") is Fault.PREFILLS
    assert fault("m1", "m2") is Fault.UNKNOWN
    assert fault("m1", state=RankState.GONE) is Fault.UNKNOWN


def test_what_keeps_requests_from_any_rank_keeps_them_from_a_named_one() -> None:
    assert fault("m1", drained=True) is Fault.DRAINED
    assert fault("m1", state=RankState.DOWN) is Fault.DOWN
    assert fault("m1", state=RankState.STALLED) is Fault.STALLED
    member = pd_rank("m1", dp_group="ep")
    broken = msgspec.structs.replace(view(member), broken_groups=frozenset({"ep"}))
    assert fault_of(broken, "m1") is Fault.GROUP


def test_a_rank_that_needs_a_prefill_rank_is_not_to_be_named() -> None:
    assert fault_of(view(pd_rank("d1", connector="sglang")), "d1") is Fault.PAIRED
