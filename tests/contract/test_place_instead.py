"""place instead of a reservation that failed: it is given back in the same call, before loads are looked at."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scheduler.decision import LegKind
from scheduler.messages import Phase
from tests.contract.world import NumberedGateway, World, sample
from tests.samples import ask, leg, record, single

NOTHING = [0, 0, 0, 0, 0, 0, 0]
PLACED = [100, 1, 1, 0, 110, 0, 0]
BY_REQUESTS: dict[str, Any] = {"per_request_s": 1.0}


@pytest.fixture
async def holder(world: World, gateway: NumberedGateway) -> NumberedGateway:
    """A gateway that holds reservation 1 on rank a."""
    await world.report(*(sample(rank) for rank in "ab"))
    await gateway.place(ask(single("a")), 1)
    return gateway


async def test_what_it_is_made_instead_of_is_held_no_more(world: World, holder: NumberedGateway) -> None:
    assert (await holder.place(ask(single("b")), 2, instead_of=1))[0] == b"place"
    assert await holder.held() == {2: record(0, "m b")}
    assert [await world.load_row(rank) for rank in "ab"] == [NOTHING, PLACED]
    assert (await holder.renew(2))[0] == b"ok"


async def test_its_load_is_not_seen(holder: NumberedGateway) -> None:
    candidates = (single("a", **BY_REQUESTS), single("b", 0.5, **BY_REQUESTS))
    assert (await holder.place(ask(*candidates), 2))[2] == 2
    reply = await holder.place(ask(*candidates, explain=True), 3, instead_of=1)
    assert reply[1:3] == [b"0.000000000", 1]
    assert [row[1] for row in json.loads(reply[4])] == [0, 1]
    assert reply[5][1].split()[3] == b"0", "nor is it in the rows behind the loads"


async def test_the_load_of_others_is(world: World, holder: NumberedGateway) -> None:
    other = NumberedGateway(world, "h")
    await other.join()
    for each in (1, 2):
        await other.place(ask(single("a")), each)
    reply = await holder.place(ask(single("a", **BY_REQUESTS), explain=True), 2, instead_of=1)
    assert reply[1] == b"2.000000000"
    assert await other.held() == {1: record(0, "m a"), 2: record(0, "m a")}


async def test_it_may_be_made_on_the_same_rank(world: World, holder: NumberedGateway) -> None:
    await holder.place(ask(single("a")), 2, instead_of=1)
    assert await holder.held() == {2: record(0, "m a")}
    assert await world.load_row("a") == PLACED


async def test_a_pair_may_take_the_place_of_another(world: World, holder: NumberedGateway) -> None:
    await world.report(*(sample(rank) for rank in "cd"))
    transfer_s = {"a": {"a": 0.0}}

    def pair(prefill: str, decode: str) -> Any:
        legs: dict[str, Any] = {"prefills": (leg(LegKind.PREFILL, prefill),), "decodes": (leg(LegKind.DECODE, decode),)}
        return ask(**legs, transfer_s=transfer_s)

    await holder.place(pair("a", "b"), 2, instead_of=1)
    await holder.advance({2: record(Phase.PREFILL_DONE, "p a", "d b")})
    await holder.place(pair("c", "b"), 3, instead_of=2)
    assert await holder.held() == {3: record(0, "p c", "d b")}
    decode = [0, 0, 1, 0, 110, 0, 0]
    assert [await world.load_row(rank) for rank in "abc"] == [NOTHING, decode, [100, 1, 1, 0, 100, 0, 0]]


async def test_a_dp_group_is_left_before_its_sums_are_looked_at(world: World, holder: NumberedGateway) -> None:
    await holder.advance({2: record(Phase.DISPATCHED, "m a i1 g")})
    told = ask(single("b", group="g", per_group_request_s=1.0), explain=True)
    reply = await holder.place(told, 3, instead_of=2)
    assert (reply[1], reply[5][3]) == (b"0.000000000", b"0 0 0")
    assert await world.store.command("HMGET", world.keys.group, "g:q", "g:n", "g:k") == [b"100", b"1", b"110"]


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [
        pytest.param(ask(single("x")), b"reject", id="reject"),
        pytest.param(ask(single("b", cap_requests=0), spill=False), b"wait", id="wait"),
    ],
)
async def test_it_is_given_back_where_nothing_is_placed(
    world: World, holder: NumberedGateway, asked: Any, verdict: bytes
) -> None:
    await holder.place(ask(single("b")), 2)
    assert (await holder.place(asked, 3, instead_of=1))[0] == verdict
    assert await holder.held() == {2: record(0, "m b")}
    assert await world.load_row("a") == NOTHING
    assert (await holder.renew(2))[0] == b"ok"


@pytest.mark.parametrize("unknown", [1, 404])
async def test_what_is_not_there_is_not_given_back(world: World, holder: NumberedGateway, unknown: int) -> None:
    await holder.place(ask(single("b")), 2, instead_of=1)
    await holder.place(ask(single("b")), 3, instead_of=unknown)
    assert sorted(await holder.held()) == [2, 3]
    assert await world.load_row("a") == NOTHING
    assert (await holder.renew(2, 3))[0] == b"ok"


async def test_what_another_gateway_holds_is_not_touched(world: World, holder: NumberedGateway) -> None:
    other = NumberedGateway(world, "h")
    await other.join()
    await other.place(ask(single("b")), 2, instead_of=1)
    assert await holder.held() == {1: record(0, "m a")}
    assert (await holder.renew(1))[0] == b"ok"


async def test_a_later_release_changes_nothing(world: World, holder: NumberedGateway) -> None:
    await holder.place(ask(single("b")), 2, instead_of=1)
    before = await world.contents()
    await holder.release(1)
    assert await world.contents() == before | {world.keys.gate: [b"4 1 2", b"g"]}


async def test_one_that_arrives_twice_is_applied_once(world: World, holder: NumberedGateway) -> None:
    await holder.place(ask(single("b")), 2, instead_of=1)
    before = await world.contents()
    assert await holder.place(ask(single("b")), 2, instead_of=1, number=3) == [b"resync"]
    assert await world.contents() == before


async def test_one_out_of_turn_gives_nothing_back(world: World, holder: NumberedGateway) -> None:
    before = await world.contents()
    assert await holder.place(ask(single("b")), 2, instead_of=1, number=9) == [b"resync"]
    assert await world.contents() == before
