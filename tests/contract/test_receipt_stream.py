"""receipt_add and receipt_find, on every store."""

from __future__ import annotations

import pytest

from scheduler import calls
from scheduler.calls import Reply
from scheduler.errors import StoreRejectedError
from tests.contract.world import World

KEPT = 100


async def add(world: World, *receipts: tuple[str, str, bytes], kept: int = KEPT) -> Reply:
    return await world.run(calls.receipt_add(world.keys, kept, receipts))


async def find(world: World, request: str, start: str = "+", entries: int = KEPT) -> tuple[bytes, list[list[bytes]]]:
    """Where to go on, and the digests and receipts that were found."""
    last, _, *cells = await world.run(calls.receipt_find(world.keys, request, start, entries))
    ids = cells[::3]
    assert sorted(ids, key=lambda each: [int(part) for part in each.split(b"-")], reverse=True) == ids
    return last, [cells[first + 1 : first + 3] for first in range(0, len(cells), 3)]


async def test_a_pool_without_receipts_has_none(world: World) -> None:
    assert await find(world, "a") == (b"", [])


async def test_the_receipts_of_a_request_are_found_the_newest_first(world: World) -> None:
    assert await add(world, ("a", "d1", b"\x00\xff first"), ("b", "d2", b"another's"), ("a", "d3", b"second")) == 3
    assert await add(world, ("a", "d4", b"third")) == 1
    assert await find(world, "a") == (b"", [[b"d4", b"third"], [b"d3", b"second"], [b"d1", b"\x00\xff first"]])
    assert await find(world, "nobody") == (b"", [])


async def test_a_long_stream_is_looked_through_piece_by_piece(world: World) -> None:
    await add(world, *((f"r{number % 3}", str(number), b"x") for number in range(10)))
    start, found = "+", []
    for _ in range(3):
        last, some = await find(world, "r1", start, entries=4)
        found += some
        start = f"({last.decode()}"
    assert last == b""
    assert [digest for digest, _ in found] == [b"7", b"4", b"1"]


async def test_a_piece_that_ends_with_the_oldest_says_so_at_the_next_look(world: World) -> None:
    await add(world, *(("a", str(number), b"x") for number in range(4)))
    last, found = await find(world, "a", entries=4)
    assert (len(found), bool(last)) == (4, True)
    assert await find(world, "a", f"({last.decode()}", entries=4) == (b"", [])


async def test_the_oldest_are_forgotten(world: World) -> None:
    for first in range(0, 1_000, 50):
        await add(world, *(("a", str(number), b"x" * 100) for number in range(first, first + 50)))
    _, found = await find(world, "a", entries=1_000)
    assert found[0][0] == b"999"
    assert KEPT <= len(found) <= 2 * KEPT + 50  # streams are cut at whole nodes


async def test_an_entry_of_somebody_else_s_is_found_empty(world: World) -> None:
    await world.store.command("XADD", world.keys.receipts, "MAXLEN", "~", "10", "*", "request", "a")
    await world.store.command("XADD", world.keys.receipts, "MAXLEN", "~", "10", "*", "what", "ever")
    assert await find(world, "a") == (b"", [[b"", b""]])
    _, nameless, *_ = await world.run(calls.receipt_find(world.keys, "a", "+", KEPT))
    assert nameless == 1


async def test_a_key_of_another_type_is_refused_and_left_alone(world: World) -> None:
    await world.store.command("SET", world.keys.receipts, "no stream")
    with pytest.raises(StoreRejectedError):
        await add(world, ("a", "d", b"x"))
    with pytest.raises(StoreRejectedError):
        await find(world, "a")
    assert await world.store.command("GET", world.keys.receipts) == b"no stream"
