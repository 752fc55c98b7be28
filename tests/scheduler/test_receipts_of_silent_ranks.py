"""Receipts where many agents fell silent: by ranks that are in no receipt, too, it shows that they are many."""

from __future__ import annotations

import pytest

from scheduler.decision import RequestShape
from scheduler.rank_view import RankView
from scheduler.receipt import Receipt
from tests.scheduler.drawn_pools import POOL_MS
from tests.scheduler.receipt_scene import case_of, placed, rebound, wrong_with
from tests.scheduler.samples import pd_rank, view

LONG = RequestShape(prompt_tokens=1 << 20, output_tokens=100, prompt_key="k", pairable=True)
"""So long that a pair serves it."""


def ranks(name: str, heard: int, silent: int, kv_geometry: str = "") -> list[RankView]:
    """Of the role that the name begins with: those that were heard, then those that were not."""
    told_ms = [POOL_MS] * heard + [0] * silent
    return [
        pd_rank(f"{name}{number}", heard={"heard_ms": ms}, kv_geometry=kv_geometry) for number, ms in enumerate(told_ms)
    ]


def decided(*pool: RankView) -> list[Receipt]:
    """A placement on a pair, and its rebinding."""
    of = view(*pool, pool_ms=POOL_MS)
    case = case_of(of, LONG, 0, 3, frozenset())
    first = placed(case, "forebay", of.ranks, POOL_MS)
    assert first is not None
    receipt, answer = first
    assert answer.reservation is not None
    second = rebound(case, "forebay", of.ranks, POOL_MS, answer.reservation)
    assert second is not None
    return [receipt, second]


@pytest.mark.parametrize(("role", "other"), ["pd", "dp"])
async def test_a_decision_comes_out_again_though_those_that_fell_silent_pair_with_nobody(role: str, other: str) -> None:
    """One of four that pair is silent, which alone would be few; of all of their role it is half."""
    receipts = decided(*ranks(role, 3, 1), *ranks(f"{role}alone", 1, 3, "alone"), *ranks(other, 2, 0))
    assert f"{role}3" in {each.rank for each in receipts[0].candidates}
    for receipt in receipts:
        assert receipt.is_whole
        assert await wrong_with(receipt) == []


async def test_a_decision_comes_out_again_though_few_of_those_that_were_asked_about_are_silent() -> None:
    for receipt in decided(*ranks("d", 140, 60), *ranks("p", 2, 0)):
        silent = [each for each in receipt.known if each.heard_ms == 0]
        assert 0 < len(silent) <= len(receipt.known) / 4
        assert await wrong_with(receipt) == []
