"""breaker: a row changes hands only as it was read, and only of a life that is there."""

from __future__ import annotations

from scheduler import calls
from scheduler.calls import Reply
from tests.contract.world import LEASE_MS, World, sample

Change = tuple[str, str, str, str]


async def tell(world: World, *changes: Change, epoch: str = "") -> Reply:
    return await world.run(calls.breaker(world.keys, epoch or world.epoch, LEASE_MS, changes))


async def rows(world: World) -> dict[str, str]:
    cells = iter(await world.store.command("HGETALL", world.keys.breaker))
    return {name.decode(): row.decode() for name, row in zip(cells, cells, strict=True)}


async def told(world: World, since: int) -> dict[str, str]:
    """The breakers in what a snapshot tells of changes since a version."""
    delta = await world.snapshot(world.epoch, since)
    assert delta is not None
    return {row[0].decode(): row[4].decode() for row in delta.rows}


async def version(world: World) -> int:
    return (await world.head()).version


async def test_a_row_is_written_and_every_snapshot_tells_of_it(world: World) -> None:
    await world.report(sample("a"), sample("b"))
    before = await version(world)
    assert await tell(world, ("a", "i1", "", "i1 x")) == [b"ok", 1, b"i1 x"]
    assert await rows(world) == {"a": "i1 x"}
    assert await told(world, before) == {"a": "i1 x"}
    assert await told(world, -1) == {"a": "i1 x", "b": ""}
    assert await told(world, before + 1) == {}


async def test_whoever_read_another_row_is_told_the_one_that_is_there(world: World) -> None:
    await world.report(sample("a"))
    await tell(world, ("a", "i1", "", "i1 x"))
    before = await version(world)
    assert await tell(world, ("a", "i1", "", "i1 y")) == [b"ok", 0, b"i1 x"]
    assert await tell(world, ("a", "i1", "i1 w", "i1 y")) == [b"ok", 0, b"i1 x"]
    assert (await rows(world), await told(world, before)) == ({"a": "i1 x"}, {})
    assert await tell(world, ("a", "i1", "i1 x", "i1 y")) == [b"ok", 1, b"i1 y"]


async def test_a_row_that_is_to_be_none_is_gone_and_told_as_none(world: World) -> None:
    await world.report(sample("a"))
    await tell(world, ("a", "i1", "", "i1 x"))
    before = await version(world)
    assert await tell(world, ("a", "i1", "i1 x", "")) == [b"ok", 1, b""]
    assert (await rows(world), await told(world, before)) == ({}, {"a": ""})


async def test_several_rows_are_answered_in_their_order(world: World) -> None:
    await world.report(sample("a"), sample("b"), sample("c"))
    await tell(world, ("b", "i1", "", "i1 old"))
    changes = [("a", "i1", "", "i1 1"), ("b", "i1", "", "i1 2"), ("c", "i1", "", "i1 3")]
    assert await tell(world, *changes) == [b"ok", 1, b"i1 1", 0, b"i1 old", 1, b"i1 3"]


async def test_of_a_life_that_is_gone_nothing_is_written(world: World) -> None:
    await world.report(sample("a", "i2"))
    assert await tell(world, ("a", "i1", "", "i1 x"), ("b", "i1", "", "i1 x")) == [b"ok", 0, b"", 0, b""]
    assert await rows(world) == {}


async def test_the_next_life_replaces_the_row_of_the_last_one(world: World) -> None:
    await world.report(sample("a"))
    await tell(world, ("a", "i1", "", "i1 x"))
    await world.report(sample("a", "i2"))
    assert await tell(world, ("a", "i2", "i1 x", "i2 y")) == [b"ok", 1, b"i2 y"]


async def test_rows_of_ranks_that_left_do_not_gather(world: World) -> None:
    for number in range(5):
        await world.report(sample(f"a{number}"), sample("b"))
        await tell(world, (f"a{number}", "i1", "", "i1 x"), ("b", "i1", "", "i1 b"))
        await world.report(sample(f"a{number}", state="gone"))
    assert len(await rows(world)) <= 3
    await world.report(sample("c"))
    await tell(world, ("c", "i1", "", "i1 x"))
    assert await rows(world) == {"b": "i1 b", "c": "i1 x"}


async def test_another_epoch_is_refused_and_begins_without_breakers(world: World) -> None:
    await world.report(sample("a"))
    await tell(world, ("a", "i1", "", "i1 x"))
    assert await tell(world, ("a", "i1", "i1 x", "i1 y"), epoch="e0") == [b"resync"]
    assert await rows(world) == {"a": "i1 x"}
    await world.store.command("DEL", world.keys.head)
    await world.begin("e2")
    assert await rows(world) == {}


async def test_a_snapshot_is_told_all_the_same_where_the_key_is_of_another_type(world: World) -> None:
    await world.report(sample("a"))
    await world.store.command("SET", world.keys.breaker, "no hash")
    assert await told(world, -1) == {"a": ""}
    await world.store.command("DEL", world.keys.breaker)
