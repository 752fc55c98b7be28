"""What people are told of a decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from rich.console import Console

from forebay.explain import Explanation, Judged
from forebay.receipt_tables import tables
from forebay.receipt_words import sentence, ways
from scheduler.decision import RequestShape
from scheduler.loads import Loads
from scheduler.misfit import Misfit
from scheduler.rank_view import RankView
from scheduler.receipt import Receipt, Verdict
from scheduler.rows import BookLoad
from scheduler.view import PoolView
from tests.scheduler.drawn_pools import POOL_MS
from tests.scheduler.receipt_scene import case_of, found, placed, rebound
from tests.scheduler.samples import pd_rank, view

SHAPE = RequestShape(prompt_tokens=8_000, output_tokens=10, prompt_key="k")
HEARD: dict[str, Any] = {"heard_ms": POOL_MS, "sampled_ms": POOL_MS - 500}
BUSY = BookLoad(queued_tokens=2_000, prompts=1, progress_since_ms=POOL_MS, requests=1)


def pool(**books: BookLoad) -> PoolView:
    return view(*(pd_rank(name, book, heard=HEARD) for name, book in books.items()), pool_ms=POOL_MS)


def decided(
    of: PoolView, shape: RequestShape = SHAPE, now: Mapping[str, RankView] | None = None, policy: str = "forebay"
) -> Receipt:
    both = placed(case_of(of, shape, 0, 1, frozenset()), policy, of.ranks if now is None else now, POOL_MS + 100)
    assert both is not None
    return both[0]


def printed(
    *receipts: Receipt,
    misfits: tuple[Misfit, ...] = (),
    unreadable: tuple[str, ...] = (),
    strange: tuple[str, ...] = (),
) -> str:
    judged = tuple(Judged(found(each), misfits, each.rules != "r") for each in receipts)
    console = Console(width=160, highlight=False)
    with console.capture() as capture:
        console.print(*tables(Explanation("req-1", judged, unreadable, strange)), sep="\n")
    return capture.get()


def test_the_cheapest_is_said_to_be_and_by_how_much() -> None:
    receipt = decided(pool(m1=BUSY, m2=BookLoad()))
    assert [each.rank for each in receipt.chosen] == ["m2"]
    assert sentence(receipt) == "the least cost, by 81.91 s"


def test_what_the_chosen_one_holds_of_the_prompt_is_said() -> None:
    shape = msgspec.structs.replace(SHAPE, cached_tokens={"m1": 6_144})
    assert sentence(decided(pool(m1=BookLoad(), m2=BookLoad()), shape)).endswith(
        "; it holds 6,144 of the prompt's 8,000 tokens"
    )


def test_chance_between_equals_is_said() -> None:
    idle = BookLoad()
    assert "as cheap as 2 others within" in sentence(decided(pool(m1=idle, m2=idle, m3=idle)))
    assert "by chance" in sentence(decided(pool(m1=idle, m2=idle)))


def test_where_there_was_no_other_way_that_is_said() -> None:
    assert sentence(decided(pool(m1=BUSY))) == "there was no other way"


def test_a_refusal_is_said() -> None:
    receipt = decided(pool(m1=BUSY), now={})
    assert receipt.verdict is Verdict.REJECT
    assert sentence(receipt) == "no candidate could be placed on"
    assert sentence(msgspec.structs.replace(receipt, verdict=Verdict.WAIT)) == "every candidate is full"
    assert "not placeable" in printed(receipt)


def test_all_other_ways_full_is_said() -> None:
    full = BookLoad(requests=8, engine_kv_tokens=99_999)
    receipt = decided(pool(m1=full, m2=BookLoad(requests=1, engine_kv_tokens=10)))
    assert sentence(receipt) == "every other way is full"
    assert "full, " in printed(receipt)


def test_where_all_ways_are_full_the_least_cost_is_said() -> None:
    """What a request weighs itself is taken off where it is already, so that a full rank costs less than another."""
    receipt = decided(pool(m1=BUSY, m2=BookLoad()))
    costs_s = {each.rank: 1e9 + (-0.5 if each in receipt.chosen else 0.5) for each in receipt.candidates}
    full = tuple(msgspec.structs.replace(each, cost_s=costs_s[each.rank]) for each in receipt.loads)
    assert sentence(msgspec.structs.replace(receipt, loads=full)) == "the least cost, by 1.00 s"


def test_a_pair_costs_its_legs_and_the_transfer() -> None:
    shape = msgspec.structs.replace(SHAPE, pairable=True)
    receipt = decided(pool(p1=BookLoad(), d1=BookLoad(requests=5)), shape)
    best, *others = ways(receipt)
    assert best.legs == receipt.legs
    assert len(best.legs) == 2
    assert best.cost_s == pytest.approx(receipt.cost_s)
    assert all(best.cost_s <= way.cost_s for way in others)


def test_what_was_decided_without_the_store_is_said() -> None:
    receipt = decided(pool(m1=BUSY, m2=BookLoad()))
    alone = msgspec.structs.replace(receipt, alone=True, believed={"m1": Loads(1, 1, 1), "m2": Loads(0, 0, 0)})
    assert "the store could not be asked" in sentence(alone)
    assert "which ranks to ask about was not recomputed" in printed(alone)


def test_a_table_has_every_candidate_and_marks_the_chosen() -> None:
    shape = msgspec.structs.replace(SHAPE, cached_tokens={"m1": 6_144})
    page = printed(decided(pool(m1=BookLoad(), m2=BUSY), shape))
    (chosen,) = [line for line in page.splitlines() if line.startswith("→")]
    assert chosen.split()[1:3] == ["m1", "whole"]
    assert "6,144" in chosen
    assert "8,000 prompt and 10 output tokens; snapshot 12 ms old; asked about 2 of 2 ranks" in page
    assert "recomputed: same answer" in page


def test_a_rebinding_is_told_from_a_placement() -> None:
    of, shape = pool(p1=BookLoad(), d1=BookLoad(requests=5)), msgspec.structs.replace(SHAPE, pairable=True)
    case = case_of(of, shape, 0, 1, frozenset())
    first = placed(case, "forebay", of.ranks, POOL_MS + 100)
    assert first is not None
    receipt, answer = first
    assert answer.reservation is not None
    second = rebound(case, "forebay", of.ranks, POOL_MS + 100, answer.reservation)
    assert second is not None
    page = printed(receipt, second)
    assert "1 of 2: placement in pool m" in page
    assert "2 of 2: rebinding of the decode leg" in page
    assert sentence(msgspec.structs.replace(second, alone=True)).startswith("the store could not be asked")


@pytest.mark.parametrize("legs", [(), (0,), (9,), (1 << 70,), (-1,)])
def test_legs_that_cannot_be_are_given_no_reasons(legs: tuple[int, ...]) -> None:
    changed = msgspec.structs.replace(decided(pool(m1=BUSY, m2=BookLoad())), legs=legs)
    page = printed(changed, misfits=(Misfit("rows", "0 ranks' rows", "2, one of each candidate"),))
    assert "the least cost" not in page
    assert "NOT the same answer" in page


@pytest.mark.parametrize("field", ["legs", "legs[1]", "ask", "the whole"])
def test_a_choice_that_was_not_made_is_given_no_reasons(field: str) -> None:
    receipt = decided(pool(m1=BUSY, m2=BookLoad()))
    assert "m2: the least cost" in printed(receipt)
    assert "m2: the least cost" not in printed(receipt, misfits=(Misfit(field, "1", "2"),))


def test_a_terminal_gets_no_control_characters_of_others() -> None:
    odd = "m\x1b[2J\x07\u202e"
    receipt = decided(view(pd_rank(odd, BUSY, heard=HEARD), pool_ms=POOL_MS))
    changed = msgspec.structs.replace(receipt, pool=odd, gateway=odd, policy=odd, rules=odd, avoid=(odd,))
    page = printed(
        changed, misfits=(Misfit(f"loads.{odd}", odd, odd),), unreadable=(f"pool {odd}: {odd}",), strange=(odd,)
    )
    assert all(each.isprintable() or each == "\n" for each in page)
    assert "m\\x1b[2J\\x07\\u202e" in page


def test_what_does_not_fit_and_other_rules_are_said() -> None:
    other = msgspec.structs.replace(decided(pool(m1=BUSY)), rules="0123")
    page = printed(
        other,
        misfits=(Misfit("legs[1]", "9", "1"),),
        unreadable=("pool m, entry 1-0: junk",),
        strange=("pool n cannot be read",),
    )
    assert "recomputed: NOT the same answer (decided by the rules of another release, 0123)" in page
    assert "legs[1]: the receipt has 9, recomputed 1" in page
    assert "a receipt of this request that cannot be read: pool m, entry 1-0: junk" in page
    assert "skipped: pool n cannot be read" in page
