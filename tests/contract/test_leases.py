"""renew and reap: who holds reservations renews its lease; who does not loses them."""

from __future__ import annotations

import pytest

from scheduler.reservation import ID_MODULUS
from tests.contract.world import LEASE_MS, NumberedGateway, World, sample
from tests.samples import ask, single


@pytest.fixture(autouse=True)
async def ranks(world: World) -> None:
    await world.report(sample("a"))


async def ended(world: World) -> list[str]:
    told = await world.report(sample("a"))
    assert told is not None
    return told.ended


async def test_a_gateway_that_renews_keeps_what_it_holds(world: World, gateway: NumberedGateway) -> None:
    await gateway.place(ask(single("a")), 1)
    for _ in range(3):
        await world.passes(LEASE_MS - 500)
        assert (await gateway.renew(1))[0] == b"ok"
        assert await ended(world) == []
        assert await world.reap(gateway.name) == [b"ok", 0]
    assert list(await gateway.held()) == [1]


async def test_a_gateway_that_falls_silent_loses_what_it_holds(world: World, gateway: NumberedGateway) -> None:
    await gateway.place(ask(single("a")), 1)
    await world.passes(LEASE_MS + 500)
    assert await ended(world) == [gateway.name]
    assert await world.reap(gateway.name) == [b"ok", 0]
    assert await gateway.held() == {}
    assert await world.load_row("a") == [0] * 7
    assert await ended(world) == []


async def test_a_renewal_tells_whose_lease_has_ended(world: World, gateway: NumberedGateway) -> None:
    other = NumberedGateway(world, "h")
    await other.join()
    await world.passes(LEASE_MS - 500)
    assert await gateway.renew() == [b"ok", []]
    await world.passes(1_000)
    assert await gateway.renew() == [b"ok", [b"h"]]


async def test_reaping_takes_as_many_as_it_may_and_tells_what_is_left(world: World, gateway: NumberedGateway) -> None:
    for each in range(1, 6):
        await gateway.place(ask(single("a")), each)
    await world.passes(LEASE_MS + 500)
    assert [await world.reap(gateway.name, limit=2) for _ in range(3)] == [[b"ok", 3], [b"ok", 1], [b"ok", 0]]
    assert await world.load_row("a") == [0] * 7


async def test_a_gateway_that_is_half_reaped_cannot_go_on_as_if_it_held_all(
    world: World, gateway: NumberedGateway
) -> None:
    for each in (1, 2, 3):
        await gateway.place(ask(single("a")), each)
    await world.passes(LEASE_MS + 500)
    assert await world.reap(gateway.name, limit=1) == [b"ok", 2]
    assert await gateway.renew(1, 2, 3) == [b"resync"]


async def test_a_reaped_gateway_has_to_resync(world: World, gateway: NumberedGateway) -> None:
    await world.passes(LEASE_MS + 500)
    await world.reap(gateway.name)
    assert await gateway.place(ask(single("a"))) == [b"resync"]


@pytest.mark.parametrize("name", ["g", "nobody"])
async def test_reaping_who_lives_or_never_was_does_nothing(world: World, gateway: NumberedGateway, name: str) -> None:
    await gateway.place(ask(single("a")), 1)
    before = await world.contents()
    assert await world.reap(name) == [b"ok", 0]
    assert await world.contents() == before


@pytest.mark.parametrize(
    "claimed",
    [
        pytest.param((), id="fewer"),
        pytest.param((1, 2, 3), id="more"),
        pytest.param((1, 3), id="others"),
    ],
)
async def test_a_renewal_that_claims_another_set_is_a_resync(
    world: World, gateway: NumberedGateway, claimed: tuple[int, ...]
) -> None:
    await gateway.place(ask(single("a")), 1)
    await gateway.place(ask(single("a")), 2)
    await world.passes(LEASE_MS - 500)
    assert await gateway.renew(*claimed) == [b"resync"]
    await world.passes(1_000)
    assert await ended(world) == [gateway.name], "a refused renewal gives no lease"


async def test_ids_up_to_the_modulus_add_up_as_in_python(gateway: NumberedGateway) -> None:
    ids = [ID_MODULUS - each for each in range(1, 8)]
    for each in ids:
        await gateway.place(ask(single("a")), each)
    assert (await gateway.renew(*ids))[0] == b"ok"
    await gateway.release(*ids[:3])
    assert (await gateway.renew(*ids[3:]))[0] == b"ok"


async def test_who_leaves_is_reaped_at_once_and_fenced(world: World, gateway: NumberedGateway) -> None:
    await gateway.place(ask(single("a")), 1)
    assert (await gateway.renew(1, leave=True))[0] == b"ok"
    assert await gateway.place(ask(single("a")), 2) == [b"resync"]
    assert await world.reap(gateway.name) == [b"ok", 0]
    assert await world.load_row("a") == [0] * 7
    assert (await world.store.command("HGETALL", world.keys.gate)) == []
