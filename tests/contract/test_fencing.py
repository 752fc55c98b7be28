"""Numbers, names and epochs: a call out of turn is answered 'resync' and changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scheduler.calls import Reply
from scheduler.decision import LegKind
from tests.contract.world import NumberedGateway, World, sample
from tests.samples import ask, leg, record, single

Send = Callable[..., Awaitable[Reply]]

CALLS: dict[str, Callable[[NumberedGateway], tuple[Send, tuple[Any, ...]]]] = {
    "place": lambda gateway: (gateway.place, (ask(single("a")), 2)),
    "rebind": lambda gateway: (gateway.rebind, (1, record(2, "p a", "d a"), ask(decodes=(leg(LegKind.DECODE, "a"),)))),
    "advance": lambda gateway: (gateway.advance, ({1: record(1, "m a")},)),
    "release": lambda gateway: (gateway.release, (1,)),
    "renew": lambda gateway: (gateway.renew, (1,)),
    "resync piece": lambda gateway: (gateway.state, ({2: record(0, "m a")},)),
}

OUT_OF_TURN: dict[str, dict[str, Any]] = {
    "its own number again": {"number": 2},
    "an old number": {"number": 0},
    "a number ahead": {"number": 4},
    "a negative number": {"number": -9},
    "an old epoch": {"epoch": "e0"},
    "the beginning of the epoch": {"epoch": "e"},
}


@pytest.fixture
async def holder(world: World, gateway: NumberedGateway) -> NumberedGateway:
    """A gateway whose next number is 3; it holds reservation 1 on rank a."""
    await world.report(sample("a"))
    await gateway.place(ask(single("a")))
    return gateway


@pytest.mark.parametrize("out_of_turn", OUT_OF_TURN)
@pytest.mark.parametrize("kind", CALLS)
async def test_a_call_out_of_turn_changes_nothing(
    world: World, holder: NumberedGateway, kind: str, out_of_turn: str
) -> None:
    before = await world.contents()
    send, args = CALLS[kind](holder)
    assert await send(*args, **OUT_OF_TURN[out_of_turn]) == [b"resync"]
    assert await world.contents() == before


@pytest.mark.parametrize("kind", CALLS)
async def test_the_next_number_is_applied(holder: NumberedGateway, kind: str) -> None:
    send, args = CALLS[kind](holder)
    assert (await send(*args, number=3))[0] in {b"ok", b"place"}


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.usefixtures("holder")
async def test_a_gateway_that_never_joined_changes_nothing(world: World, kind: str) -> None:
    before = await world.contents()
    send, args = CALLS[kind](NumberedGateway(world, "stranger"))
    assert await send(*args, number=3) == [b"resync"]
    assert await world.contents() == before


@pytest.mark.parametrize("kind", CALLS)
async def test_an_old_name_changes_nothing(world: World, holder: NumberedGateway, kind: str) -> None:
    """Calls that were on their way when the gateway took a new name."""
    await NumberedGateway(world, "g.2").join({1: record(0, "m a")}, former=[holder.name])
    before = await world.contents()
    send, args = CALLS[kind](holder)
    assert await send(*args, number=3) == [b"resync"]
    assert await world.contents() == before


@pytest.mark.parametrize("script", ["report", "drain", "reap"])
async def test_a_call_without_a_number_is_fenced_by_the_epoch(
    world: World, holder: NumberedGateway, script: str
) -> None:
    before = await world.contents()
    world.epoch = "e0"
    if script == "report":
        assert await world.report(sample("a", requests=5)) is None
    elif script == "drain":
        assert await world.drain("a") == b"resync"
    else:
        assert await world.reap(holder.name) == [b"resync"]
    assert await world.contents() == before


async def test_a_resync_that_arrives_twice_is_applied_once(world: World, gateway: NumberedGateway) -> None:
    await world.report(sample("a"))
    stated = {1: record(0, "m a")}
    anew = NumberedGateway(world, "g.2")
    assert await anew.join(stated, former=[gateway.name]) == [b"ok"]
    before = await world.contents()
    assert await anew.join(stated, former=[gateway.name]) == [b"resync"]
    assert await world.contents() == before
