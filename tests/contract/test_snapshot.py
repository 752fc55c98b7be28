"""snapshot and drain: what a gateway learns, and what an operator says."""

from __future__ import annotations

import pytest

from scheduler.view import Delta
from tests.contract.world import AGENT, NumberedGateway, World, sample
from tests.samples import ask, single


async def taken(world: World, since: Delta | None = None) -> Delta:
    delta = await world.snapshot(since.epoch, since.version) if since else await world.snapshot()
    assert delta is not None
    return delta


def ranks(delta: Delta) -> dict[str, tuple[bool, bool, bool]]:
    """By rank: whether its seen row, its load row and its card came along."""
    return {rank.decode(): (bool(seen), bool(load), bool(card)) for rank, seen, load, card, _ in delta.rows}


async def test_a_first_snapshot_has_all_there_is(world: World, gateway: NumberedGateway) -> None:
    await world.report(sample("a"), sample("b"))
    await gateway.place(ask(single("b")))
    assert ranks(await taken(world)) == {"a": (True, False, True), "b": (True, True, True)}


async def test_nothing_changed_is_nothing_to_read(world: World) -> None:
    await world.report(sample("a"))
    first = await taken(world)
    assert (await taken(world, first)).rows == ()


async def test_a_delta_has_only_what_changed_since(world: World, gateway: NumberedGateway) -> None:
    await world.report(sample("a"), sample("b"), sample("c"))
    first = await taken(world)
    await gateway.place(ask(single("b")))
    second = await taken(world, first)
    assert ranks(second) == {"b": (True, True, False)}
    assert second.version > first.version
    await world.report(sample("c", requests=3, with_card=False))
    assert ranks(await taken(world, second)) == {"c": (True, False, False)}
    assert set(ranks(await taken(world, first))) == {"b", "c"}


async def test_a_card_comes_again_only_when_it_was_written_again(world: World) -> None:
    await world.report(sample("a"))
    first = await taken(world)
    await world.report(sample("a", requests=1, with_card=False))
    assert ranks(await taken(world, first)) == {"a": (True, False, False)}
    await world.report(sample("a", "i2"))
    assert ranks(await taken(world, first)) == {"a": (True, False, True)}


async def test_a_rank_that_left_is_told_once(world: World) -> None:
    await world.report(sample("a"), sample("b"))
    first = await taken(world)
    await world.report(sample("a", state="gone"))
    second = await taken(world, first)
    assert ranks(second) == {"a": (False, False, False)}
    assert (await taken(world, second)).rows == ()


async def test_a_release_is_a_change(world: World, gateway: NumberedGateway) -> None:
    await world.report(sample("a"))
    await gateway.place(ask(single("a")))
    first = await taken(world)
    await gateway.release(1)
    assert ranks(await taken(world, first)) == {"a": (True, True, False)}


async def test_a_version_of_another_epoch_counts_as_none(world: World) -> None:
    await world.report(sample("a"))
    delta = await world.snapshot("e0", 1_000)
    assert delta is not None
    assert ranks(delta) == {"a": (True, False, True)}


async def test_a_pool_without_an_epoch_is_closed(world: World) -> None:
    await world.report(sample("a"))
    await world.store.command("DEL", world.keys.head)
    assert await world.snapshot() is None


async def test_a_snapshot_writes_nothing(world: World, gateway: NumberedGateway) -> None:
    await world.report(sample("a"))
    await gateway.place(ask(single("a")))
    before, head = await world.contents(), await world.head()
    await taken(world)
    assert (await world.contents(), await world.head()) == (before, head)


async def test_thousands_of_ranks_come_in_one_snapshot(world: World) -> None:
    """Lua's unpack has a limit; the script reads in slices."""
    names = [f"r{number}" for number in range(2_500)]
    for first in range(0, len(names), 500):
        await world.report(*(sample(name) for name in names[first : first + 500]))
    assert set(ranks(await taken(world))) == set(names)


async def test_litter_among_the_changes_is_not_carried(world: World) -> None:
    await world.report(sample("a"), sample("b"))
    for score in (0, 10**15):
        litter = [word for number in range(2_500) for word in (score, f"{score} {number}")]
        await world.store.command("ZADD", world.keys.change, *litter)
    first = await taken(world)
    assert ranks(first) == {"a": (True, False, True), "b": (True, False, True)}
    await world.report(sample("b", requests=3, with_card=False))
    assert ranks(await taken(world, first)) == {"b": (True, False, False)}


class TestDrain:
    async def test_a_drained_rank_says_so_at_once(self, world: World) -> None:
        await world.report(sample("a"), sample("b"))
        first = await taken(world)
        assert await world.drain("a") == b"ok"
        assert set(ranks(await taken(world, first))) == {"a"}
        assert {name: rank.drained for name, rank in (await world.view()).ranks.items()} == {"a": True, "b": False}

    async def test_draining_changes_nothing_else(self, world: World) -> None:
        await world.report(sample("a", requests=7, kv_tokens=300))
        before = (await world.view()).ranks["a"].seen
        await world.drain("a")
        await world.drain("a", undo=True)
        assert (await world.view()).ranks["a"].seen == before

    async def test_reservations_on_a_drained_rank_live_on(self, world: World, gateway: NumberedGateway) -> None:
        await world.report(sample("a"))
        await gateway.place(ask(single("a")))
        await world.drain("a")
        assert await world.load_row("a") == [100, 1, 1, 0, 110, 0, 0]
        assert (await gateway.renew(1))[0] == b"ok"

    async def test_it_outlives_reports_and_restarts_and_departures(self, world: World) -> None:
        await world.report(sample("a"))
        await world.drain("a")
        for row in (sample("a"), sample("a", "i2"), sample("a", "i2", state="gone"), sample("a", "i3")):
            await world.report(row)
        assert (await world.view()).ranks["a"].drained

    async def test_undoing_it_outlives_them_too(self, world: World) -> None:
        await world.report(sample("a"))
        await world.drain("a")
        await world.drain("a", undo=True)
        await world.report(sample("a", "i2"))
        assert not (await world.view()).ranks["a"].drained

    @pytest.mark.parametrize("undo", [True, False])
    async def test_a_rank_nobody_reported_is_unknown(self, world: World, undo: bool) -> None:
        await world.report(sample("a"), owner=AGENT)
        assert await world.drain("b", undo=undo) == b"unknown"
        assert await world.store.command("HKEYS", world.keys.drain) == []
