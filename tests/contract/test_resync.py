"""resync: whatever happened, a gateway's stated set is what the ledger holds."""

from __future__ import annotations

import pytest

from tests.contract.world import LEASE_MS, NumberedGateway, World, sample
from tests.samples import ask, record, single


@pytest.fixture(autouse=True)
async def ranks(world: World) -> None:
    await world.report(sample("a"), sample("b"))


async def test_the_stated_set_is_held_under_the_new_name(world: World, gateway: NumberedGateway) -> None:
    stated = {1: record(1, "m a"), 2: record(3, "m b")}
    anew = NumberedGateway(world, "g.2")
    assert await anew.join(stated, former=[gateway.name]) == [b"ok"]
    assert await anew.held() == stated
    assert (await anew.renew(1, 2))[0] == b"ok"


async def test_what_moves_from_an_old_name_is_counted_once(world: World, gateway: NumberedGateway) -> None:
    await gateway.place(ask(single("a")), 1)
    anew = NumberedGateway(world, "g.2")
    await anew.join({1: record(1, "m a")}, former=[gateway.name])
    assert await world.load_row("a") == [100, 1, 1, 1, 110, 0, 0]
    assert await gateway.held() == {}


async def test_what_the_store_held_too_much_is_reaped_at_once(world: World, gateway: NumberedGateway) -> None:
    await gateway.place(ask(single("a")), 1)
    await gateway.place(ask(single("b")), 2)
    await NumberedGateway(world, "g.2").join({1: record(0, "m a")}, former=[gateway.name])
    assert await world.reap(gateway.name) == [b"ok", 0]
    assert [await world.load_row(rank) for rank in "ab"] == [[100, 1, 1, 0, 110, 0, 0], [0] * 7]


async def test_a_large_set_is_stated_in_pieces(world: World, gateway: NumberedGateway) -> None:
    anew = NumberedGateway(world, "g.2")
    first, second = ({each: record(0, "m a") for each in ids} for ids in (range(1, 501), range(501, 800)))
    assert await anew.join(first, former=[gateway.name]) == [b"ok"]
    assert await anew.state(second, former=[gateway.name]) == [b"ok"]
    assert len(await anew.held()) == 799
    assert await world.load_row("a") == [79_900, 799, 799, 0, 87_890, 0, 0]
    assert (await anew.renew(*range(1, 800)))[0] == b"ok"


async def test_several_old_names_are_left_behind_when_replies_were_lost(world: World, gateway: NumberedGateway) -> None:
    await gateway.place(ask(single("a")), 1)
    stated = {1: record(0, "m a")}
    lost = NumberedGateway(world, "g.2")
    await lost.join(stated, former=["g"])
    await NumberedGateway(world, "g.3").join(stated, former=["g", "g.2"])
    assert await world.load_row("a") == [100, 1, 1, 0, 110, 0, 0]
    assert await lost.release(1) == [b"resync"]
    assert [await world.reap(name) for name in ("g", "g.2")] == [[b"ok", 0]] * 2
    assert await world.load_row("a") == [100, 1, 1, 0, 110, 0, 0]


async def test_an_old_name_that_the_store_never_heard_of_does_no_harm(world: World) -> None:
    assert await NumberedGateway(world, "g.2").join({1: record(0, "m a")}, former=["g.1"]) == [b"ok"]
    assert await world.reap("g.1") == [b"ok", 0]


async def test_a_joined_gateway_has_a_whole_lease(world: World) -> None:
    await NumberedGateway(world, "g").join()
    await world.passes(LEASE_MS - 500)
    assert (await world.report() or pytest.fail("no reply")).ended == []
    await world.passes(1_000)
    assert (await world.report() or pytest.fail("no reply")).ended == ["g"]


async def test_an_empty_store_is_rebuilt_from_what_gateways_state(world: World, gateway: NumberedGateway) -> None:
    other = NumberedGateway(world, "h")
    await other.join()
    await gateway.place(ask(single("a")), 1)
    await other.place(ask(single("a")), 2)
    before = await world.load_row("a")
    await world.store.command("FLUSHALL", "ASYNC") if world.real else world.store.data.clear()  # type: ignore[attr-defined]
    await world.begin("e2")
    assert await gateway.place(ask(single("a")), 3) == [b"resync"]
    for each, held in ((gateway, {1: record(0, "m a")}), (other, {2: record(0, "m a")})):
        each.name += ".2"
        assert await each.join(held) == [b"ok"]
    assert await world.load_row("a") == before
    assert await gateway.place(ask(single("a")), 3) == [b"reject"], "a rank nobody has reported since is not idle"
    await world.report(sample("a"))
    assert (await gateway.place(ask(single("a")), 3))[0] == b"place"
