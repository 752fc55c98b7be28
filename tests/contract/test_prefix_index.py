"""prefix_touch and prefix_look, on every store; one chain lies in one slot, beside the ledger's."""

from __future__ import annotations

from random import Random

from scheduler import calls
from scheduler.calls import Reply
from scheduler.prefix_chain import chain_of
from tests.contract.world import World
from tests.polling import until

LENGTHS = (1, 2, 107, 1024)


def chain(seed: int, length: int) -> list[bytes]:
    """Hashes of a prompt's blocks."""
    chance = Random(seed)
    return list(chain_of([chance.randbytes(8) for _ in range(length)]).hashes)


async def touch(world: World, hashes: list[bytes], *holders: str, known_ms: int = 60_000) -> None:
    assert await world.run(calls.prefix_touch(world.keys.blocks(hashes), known_ms, holders)) == [b"ok"]


async def look(world: World, hashes: list[bytes]) -> Reply:
    return await world.run(calls.prefix_look(world.keys.blocks(hashes)))


async def test_chains_of_all_lengths_are_found_again(world: World) -> None:
    for length in LENGTHS:
        hashes = chain(length, length)
        assert await look(world, hashes) == []
        await touch(world, hashes, "0a=5", "0b=7")
        assert await look(world, hashes) == [b"0a=5 0b=7", *[b""] * (len(hashes) - 1)]


async def test_several_questions_travel_together_whatever_their_slots(world: World) -> None:
    prompts = [chain(seed, 3) for seed in range(20)]
    touched = [calls.prefix_touch(world.keys.blocks(each), 60_000, ["0a=1"]) for each in prompts]
    assert await world.store.run(touched) == [[b"ok"]] * 20
    looked = [calls.prefix_look(world.keys.blocks(each)) for each in prompts]
    assert await world.store.run(looked) == [[b"0a=1", b"", b""]] * 20


async def test_what_parts_is_told_apart(world: World) -> None:
    one, other = chain(1, 4), [*chain(1, 4)[:2], *chain(2, 2)]
    await touch(world, one, "0a=1")
    await touch(world, other, "0b=2")
    assert await look(world, one) == [b"0b=2 0a=1", b"", b"0a=1", b""]


async def test_a_value_that_is_none_of_ours_is_not_read_to_its_end_and_heals(world: World) -> None:
    hashes = chain(5, 3)
    await touch(world, hashes, "0a=1")
    await world.store.command("SET", world.keys.blocks(hashes)[1], "f" * 1_000_000)
    assert await look(world, hashes) == [b"0a=1"]
    await touch(world, hashes, "0b=2")
    assert await look(world, hashes) == [b"0b=2 0a=1", b"0b=2", b"0b=2 0a=1"]


async def test_blocks_are_forgotten_in_time(world: World) -> None:
    hashes = chain(3, 2)
    await touch(world, hashes, "0a=1", known_ms=1)

    async def is_forgotten() -> bool:
        await world.elapse(2)
        return not await look(world, hashes)

    await until(is_forgotten, "the blocks are forgotten")


async def test_what_was_believed_adds_up(world: World) -> None:
    keys = world.keys.believed(["0a", "0b"])
    assert await world.run(calls.prefix_believed(keys, 60_000, (1, 2, 3, 4))) == [1, 2, 3, 4]
    assert await world.run(calls.prefix_believed(keys[1:], 60_000, (10**15, 0))) == [10**15 + 3, 4]
    assert await world.run(calls.prefix_believed(keys, 60_000, (0, 0, 0, 0))) == [1, 2, 10**15 + 3, 4]


async def test_the_ledger_is_left_as_it_is(world: World) -> None:
    before = await world.contents()
    await touch(world, chain(4, 9), "0a=1")
    await world.run(calls.prefix_believed(world.keys.believed(["0a"]), 60_000, (1,)))
    assert await world.contents() == before


async def test_keys_of_other_types_hold_nothing_and_begin_anew(world: World) -> None:
    hashes, tags = chain(4, 3), ["aa", "bb"]
    odd_block, odd_sums = world.keys.blocks(hashes)[1], world.keys.believed(tags)[0]
    await touch(world, hashes, "0a=1")
    await world.store.command("DEL", odd_block)
    for key in (odd_block, odd_sums):
        await world.store.command("HSET", key, "what", "ever")
    assert await look(world, hashes) == [b"0a=1"]
    await touch(world, hashes, "0b=2")
    assert await look(world, hashes) == [b"0b=2 0a=1", b"0b=2", b"0b=2 0a=1"]
    for sums in ([5, 6, 7, 8], [10, 12, 14, 16]):
        assert await world.run(calls.prefix_believed(world.keys.believed(tags), 60_000, (5, 6, 7, 8))) == sums
