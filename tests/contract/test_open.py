"""open: a pool has one epoch, and what cannot be read begins a new one."""

from __future__ import annotations

import pytest

from tests.contract.world import NumberedGateway, World, sample
from tests.samples import ask, single


async def test_the_first_to_open_names_the_epoch(world: World) -> None:
    assert await world.begin("another") == "e1"


async def test_opening_again_changes_nothing(world: World, gateway: NumberedGateway) -> None:
    await world.report(sample("a"))
    await gateway.place(ask(single("a")))
    before = await world.contents()
    await world.begin("another")
    assert await world.contents() == before


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(None, id="missing"),
        pytest.param(b"", id="empty"),
        pytest.param(b"e1", id="cut short"),
        pytest.param(b"e1 1 2 3 4", id="too long"),
        pytest.param(b"e1 one two three", id="words for numbers"),
        pytest.param(b"\xff\xfe\x00", id="junk bytes"),
        pytest.param(b"e1 1 2 -3", id="a negative version"),
    ],
)
async def test_an_unreadable_epoch_begins_a_new_and_empty_pool(
    world: World, gateway: NumberedGateway, head: bytes | None
) -> None:
    await world.report(sample("a"))
    await gateway.place(ask(single("a")))
    if head is None:
        await world.store.command("DEL", world.keys.head)
    else:
        await world.store.command("SET", world.keys.head, head)
    assert await world.begin("e2", live=[gateway.name]) == "e2"
    assert not any((await world.contents()).values())
    view = await world.view()
    assert (view.epoch, dict(view.ranks)) == ("e2", {})


async def test_a_drained_rank_stays_drained_in_a_new_epoch(world: World) -> None:
    await world.report(sample("a"))
    await world.drain("a")
    await world.store.command("DEL", world.keys.head)
    await world.begin("e2")
    await world.report(sample("a"))
    assert (await world.view()).ranks["a"].drained
