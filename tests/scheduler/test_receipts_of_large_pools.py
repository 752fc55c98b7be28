"""Where a receipt does not know all ranks: what each of them costs comes out again, and what does not fit is named."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from scheduler.decision import Candidate, RequestShape
from scheduler.policies import POLICIES
from scheduler.receipt import Receipt
from scheduler.rows import BookLoad
from scheduler.view import PoolView
from tests.scheduler.drawn_pools import POOL_MS
from tests.scheduler.receipt_scene import case_of, placed, rebound, wrong_with
from tests.scheduler.samples import pd_rank, view

SHAPE = RequestShape(
    prompt_tokens=8_000, output_tokens=300, prompt_key="k", pairable=True, cached_tokens={"p0": 6_000, "m2": 4_000}
)


def pool(count: int, roles: str) -> PoolView:
    chance = Random(count)

    def rank(number: int) -> Any:
        book = BookLoad(chance.randrange(9_000), 1, POOL_MS - 900, chance.randrange(60), 0, 0, chance.randrange(50_000))
        heard = {
            "heard_ms": POOL_MS,
            "sampled_ms": POOL_MS - chance.randrange(5_000),
            "foreign_requests": chance.randrange(5),
            "prefill_tokens_per_s": chance.uniform(5_000, 12_000),
        }
        fields = {"node": f"node{number % 9}", "labels": {"zone": f"z{number % 2}"}}
        return pd_rank(f"{roles[number % len(roles)]}{number}", book, heard=heard, **fields)

    return view(*map(rank, range(count)), pool_ms=POOL_MS)


def decided(of: PoolView, policy: str, seed: int = 3) -> list[Receipt]:
    """A placement and, of a pair, its rebinding."""
    case = case_of(of, SHAPE, 7, seed, frozenset())
    first = placed(case, policy, of.ranks, POOL_MS + 50)
    assert first is not None
    receipt, answer = first
    assert answer.reservation is not None
    if len(answer.reservation.legs) == 1:
        return [receipt]
    second = rebound(case, policy, of.ranks, POOL_MS + 90, answer.reservation)
    assert second is not None
    return [receipt, second]


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize(("count", "roles"), [(17, "m"), (60, "pd"), (300, "mpd"), (300, "m")])
async def test_a_decision_comes_out_again(count: int, roles: str, policy: str) -> None:
    for receipt in decided(pool(count, roles), policy):
        assert not receipt.is_whole
        assert receipt.eligible > len(receipt.known)
        assert await wrong_with(receipt) == []


async def test_a_changed_price_is_named() -> None:
    receipt, _ = decided(pool(300, "pd"), "forebay")
    asked = receipt.ask
    cheaper = msgspec.structs.replace(asked.prefills[3], base_s=asked.prefills[3].base_s * 0.99)
    prefills = (*asked.prefills[:3], cheaper, *asked.prefills[4:])
    changed = msgspec.structs.replace(receipt, ask=msgspec.structs.replace(asked, prefills=prefills))
    place = receipt.candidates.index(asked.prefills[3]) + 1
    assert any(each.startswith(f"candidate {place} ({cheaper.rank}).base_s: ") for each in await wrong_with(changed))


async def changed(receipt: Receipt, **fields: Any) -> str:
    return " ".join(await wrong_with(msgspec.structs.replace(receipt, **fields)))


async def test_what_the_prices_came_from_has_to_fit() -> None:
    receipt, _ = decided(pool(300, "pd"), "forebay")
    ask = receipt.ask
    start, ends = next(iter(ask.transfer_s.items()))
    dear = {**ask.transfer_s, start: {name: seconds + 9 for name, seconds in ends.items()}}
    longer = msgspec.structs.replace(receipt.shape, prompt_tokens=9_000)
    unlike: Candidate = msgspec.structs.replace(ask.decodes[0], per_request_s=0.0)
    assert "ask.transfer_s." in await changed(receipt, ask=msgspec.structs.replace(ask, transfer_s=dear))
    assert "ask.tie_s: " in await changed(receipt, ask=msgspec.structs.replace(ask, tie_s=9.0))
    assert "ask.prompt_tokens: " in await changed(receipt, shape=longer)
    assert f"({unlike.rank}).per_request_s: " in await changed(
        receipt, ask=msgspec.structs.replace(ask, decodes=(unlike, *ask.decodes[1:]))
    )
    assert "least_queue_s: " in await changed(receipt, least_queue_s=99.0)
    assert "priced: " in await changed(receipt, priced=3)
    assert "eligible: " in await changed(receipt, eligible=3)
    assert "known: " in await changed(receipt, known=receipt.known[1:])


async def test_a_small_pool_does_not_pass_for_a_large_one() -> None:
    (receipt,) = decided(pool(8, "m"), "forebay")
    assert receipt.is_whole
    assert "eligible: " in await changed(receipt, eligible=9)
