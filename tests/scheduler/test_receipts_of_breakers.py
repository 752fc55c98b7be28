"""Receipts of decisions that breakers took part in: they say so, and come out again."""

from __future__ import annotations

import msgspec
import pytest
from rich.console import Console

from forebay.explain import Explanation, Judged
from forebay.receipt_tables import tables
from scheduler.breaker import Breaker
from scheduler.left_out import left_out
from scheduler.rank_view import RankView
from scheduler.receipt import Receipt
from scheduler.receipt_search import FoundReceipt
from tests.scheduler.drawn_pools import POOL_MS
from tests.scheduler.receipt_scene import POOL, case_of, placed, rebound, wrong_with
from tests.scheduler.samples import PAIRABLE, pd_rank, view

OPEN = Breaker("i1", trips=2, open_until_ms=POOL_MS + 3_000)


def back(ms_ago: int) -> Breaker:
    return Breaker("i1", back_ms=POOL_MS - ms_ago)


def decided(**breakers: Breaker) -> list[Receipt]:
    """A placement and its rebinding, in a pool of two prefill and three decode ranks."""
    ranks: list[RankView] = [
        msgspec.structs.replace(pd_rank(name, heard={"heard_ms": POOL_MS}), breaker=breakers.get(name))
        for name in ("p1", "p2", "d1", "d2", "d3")
    ]
    of = view(*ranks, pool_ms=POOL_MS)
    case = case_of(of, PAIRABLE, 0, 3, left_out(of, {}, POOL_MS).out)
    first = placed(case, "forebay_pairs", of.ranks, POOL_MS)
    assert first is not None
    receipt, answer = first
    assert answer.reservation is not None
    second = rebound(case, "forebay_pairs", of.ranks, POOL_MS, answer.reservation)
    assert second is not None
    return [receipt, second]


@pytest.mark.parametrize(
    ("breakers", "left_out"),
    [({}, ()), ({"p1": OPEN}, ("p1",)), ({"p1": OPEN, "d2": OPEN}, ("d2", "p1")), ({"d1": OPEN, "d2": OPEN}, ("d2",))],
)
async def test_who_was_left_out_is_in_it_and_it_comes_out_again(
    breakers: dict[str, Breaker], left_out: tuple[str, ...]
) -> None:
    for receipt in decided(**breakers):
        assert receipt.left_out == left_out
        assert not {each.rank for each in receipt.candidates} & set(left_out)
        assert await wrong_with(receipt) == []


@pytest.mark.parametrize("ms_ago", [0, 100, 5_000, 9_900])
async def test_what_starts_slowly_has_its_caps_and_comes_out_again(ms_ago: int) -> None:
    for receipt in decided(p2=back(ms_ago), d1=back(ms_ago)):
        capped = {each.rank for each in receipt.candidates if each.cap_requests >= 0}
        assert capped <= {"p2", "d1"}
        assert "d1" in capped
        assert await wrong_with(receipt) == []


async def test_a_receipt_that_hides_when_a_rank_came_back_does_not_come_out_again() -> None:
    receipt, _ = decided(p2=back(100))
    known = tuple(msgspec.structs.replace(each, back_ms=-1) for each in receipt.known)
    assert await wrong_with(msgspec.structs.replace(receipt, known=known)) != []


def test_people_are_told_which_ranks_breakers_left_out() -> None:
    console = Console(width=200, force_terminal=False)
    for receipt in decided(p1=OPEN):
        judged = Judged(FoundReceipt(POOL, "1-1", receipt, intact=True), (), other_rules=False)
        with console.capture() as capture:
            console.print(*tables(Explanation(receipt.request, (judged,), (), ())), sep="\n")
        assert "left out by a breaker: p1" in capture.get()
