"""place: what it queues where a rank holds a part of the prompt."""

from __future__ import annotations

import pytest

from scheduler.decision import LegKind
from tests.contract.world import NumberedGateway, World, sample
from tests.samples import ask, leg, single


@pytest.fixture(autouse=True)
async def ranks(world: World) -> None:
    await world.report(*(sample(rank) for rank in "ab"))


async def queued(world: World) -> list[int]:
    rows = [await world.load_row(rank) for rank in "ab"]
    return [row[0] if row else 0 for row in rows]


@pytest.mark.parametrize(("uncached_tokens", "tokens"), [(-1, 100), (0, 0), (1, 1), (40, 40)])
async def test_the_chosen_ranks_own_tokens_are_queued(
    world: World, gateway: NumberedGateway, uncached_tokens: int, tokens: int
) -> None:
    await gateway.place(ask(single("a", 1.0, uncached_tokens=77), single("b", uncached_tokens=uncached_tokens)))
    assert await queued(world) == [0, tokens]
    assert await gateway.held() == {1: f"0 {tokens} 100 10 m b i1 -"}


async def test_a_rebinding_leaves_them_as_they_are(world: World, gateway: NumberedGateway) -> None:
    decode = leg(LegKind.DECODE, "b")
    prefill = leg(LegKind.PREFILL, "a", uncached_tokens=30)
    await gateway.place(ask(prefills=(prefill,), decodes=(decode,), transfer_s={"a": {"a": 0.0}}))
    record = (await gateway.held())[1]
    assert record.startswith("0 30 100 10 p a")
    assert await queued(world) == [30, 0]
    await gateway.rebind(1, record.replace("0 ", "2 ", 1), ask(decodes=(decode,)))
    assert await queued(world) == [0, 0]
    assert (await gateway.held())[1].startswith("2 30 100 10 p a")
