"""advance and release: what a reservation weighs in each phase, and that all of it comes back."""

from __future__ import annotations

import pytest

from scheduler.decision import LegKind
from scheduler.messages import Phase
from tests.contract.world import NumberedGateway, World, sample
from tests.samples import ask, leg, record, single

NOTHING = [0, 0, 0, 0, 0, 0, 0]
"""Queued tokens, prompts, requests, dispatched, KV tokens not in the engine, KV tokens in it, growth to come."""

WEIGHTS = [
    pytest.param("m", Phase.PLACED, [100, 1, 1, 0, 110, 0, 0], id="whole, placed"),
    pytest.param("m", Phase.DISPATCHED, [100, 1, 1, 1, 110, 0, 0], id="whole, dispatched"),
    pytest.param("m", Phase.PREFILL_DONE, [0, 0, 1, 1, 110, 0, 0], id="whole, prefilled"),
    pytest.param("m", Phase.FIRST_TOKEN, [0, 0, 1, 1, 0, 100, 5], id="whole, streaming"),
    pytest.param("p", Phase.PLACED, [100, 1, 1, 0, 100, 0, 0], id="prefill, placed"),
    pytest.param("p", Phase.DISPATCHED, [100, 1, 1, 1, 100, 0, 0], id="prefill, dispatched"),
    pytest.param("p", Phase.PREFILL_DONE, [0, 0, 0, 0, 0, 100, 0], id="prefill, done: its KV waits to be fetched"),
    pytest.param("p", Phase.FIRST_TOKEN, NOTHING, id="prefill, fetched"),
    pytest.param("d", Phase.PLACED, [0, 0, 1, 0, 110, 0, 0], id="decode, placed"),
    pytest.param("d", Phase.DISPATCHED, [0, 0, 1, 0, 110, 0, 0], id="decode, while the prefill runs"),
    pytest.param("d", Phase.PREFILL_DONE, [0, 0, 1, 1, 110, 0, 0], id="decode, dispatched"),
    pytest.param("d", Phase.FIRST_TOKEN, [0, 0, 1, 1, 0, 100, 5], id="decode, streaming"),
    pytest.param("w", Phase.PLACED, [0, 0, 1, 1, 110, 0, 0], id="decode that waits, no prefill yet"),
    pytest.param("w", Phase.DISPATCHED, [0, 0, 1, 1, 110, 0, 0], id="decode that waits while the prefill runs"),
    pytest.param("w", Phase.PREFILL_DONE, [0, 0, 1, 1, 110, 0, 0], id="decode that waits, prefilled"),
    pytest.param("w", Phase.FIRST_TOKEN, [0, 0, 1, 1, 0, 100, 5], id="decode that waited, streaming"),
]


@pytest.fixture(autouse=True)
async def ranks(world: World) -> None:
    await world.report(sample("a"), sample("b"))


@pytest.mark.parametrize(("kind", "phase", "weight"), WEIGHTS)
async def test_a_leg_weighs_by_its_phase_and_gives_all_back(
    world: World, gateway: NumberedGateway, kind: str, phase: Phase, weight: list[int]
) -> None:
    await gateway.advance({1: record(Phase.PLACED, f"{kind} a")})
    await gateway.advance({1: record(phase, f"{kind} a")})
    assert await world.load_row("a") == weight
    assert await gateway.release(1) == [b"ok"]
    assert await world.load_row("a") == NOTHING
    assert await gateway.held() == {}


async def test_a_request_walks_through_all_its_phases(world: World, gateway: NumberedGateway) -> None:
    pair = ask(prefills=(leg(LegKind.PREFILL, "a"),), decodes=(leg(LegKind.DECODE, "b"),), transfer_s={"a": {"a": 0.0}})
    await gateway.place(pair)
    for phase in list(Phase)[1:]:
        assert await gateway.advance({1: record(phase, "p a", "d b")}) == [b"ok"]
        assert await gateway.held() == {1: record(phase, "p a", "d b")}
    await gateway.release(1)
    assert [await world.load_row(rank) for rank in "ab"] == [NOTHING, NOTHING]
    assert (await gateway.renew())[0] == b"ok"


async def test_many_reservations_move_in_one_call(world: World, gateway: NumberedGateway) -> None:
    await gateway.advance({each: record(Phase.PLACED, "m a") for each in range(1, 301)})
    assert await world.load_row("a") == [30_000, 300, 300, 0, 33_000, 0, 0]
    await gateway.advance({each: record(Phase.FIRST_TOKEN, "m a") for each in range(1, 301)})
    assert await world.load_row("a") == [0, 0, 300, 300, 0, 30_000, 1_500]
    await gateway.release(*range(1, 301))
    assert await world.load_row("a") == NOTHING


async def test_a_decode_rank_that_has_the_request_begins_to_wait_in_any_phase(
    world: World, gateway: NumberedGateway
) -> None:
    for phase in (Phase.PLACED, Phase.DISPATCHED):
        await gateway.advance({1: record(phase, "p a", "d b")})
        assert await world.load_row("b") == [0, 0, 1, 0, 110, 0, 0]
        await gateway.advance({1: record(phase, "p a", "w b")})
        assert await world.load_row("b") == [0, 0, 1, 1, 110, 0, 0]
    await gateway.release(1)
    assert [await world.load_row(rank) for rank in "ab"] == [NOTHING, NOTHING]


async def test_an_advance_may_rebind_a_leg_to_another_rank(world: World, gateway: NumberedGateway) -> None:
    await gateway.advance({1: record(Phase.DISPATCHED, "p a", "d b")})
    await gateway.advance({1: record(Phase.PREFILL_DONE, "p a", "d a")})
    assert await world.load_row("b") == NOTHING
    assert await world.load_row("a") == [0, 0, 1, 1, 110, 100, 0]


async def test_an_advance_enters_what_was_placed_without_asking(world: World, gateway: NumberedGateway) -> None:
    await gateway.advance({9: record(Phase.DISPATCHED, "m a")})
    assert await gateway.held() == {9: record(Phase.DISPATCHED, "m a")}
    assert (await gateway.renew(9))[0] == b"ok"


async def test_releasing_twice_gives_back_once(world: World, gateway: NumberedGateway) -> None:
    await gateway.place(ask(single("a")), 1)
    await gateway.place(ask(single("a")), 2)
    assert await gateway.release(1, 1) == [b"ok"]
    assert await gateway.release(1) == [b"ok"]
    assert await world.load_row("a") == [100, 1, 1, 0, 110, 0, 0]
    assert (await gateway.renew(2))[0] == b"ok"


async def test_releasing_what_never_was_does_nothing(world: World, gateway: NumberedGateway) -> None:
    before = await world.load_row("a")
    assert await gateway.release(404) == [b"ok"]
    assert await world.load_row("a") == before
    assert (await gateway.renew())[0] == b"ok"


async def test_a_gateway_cannot_release_what_another_holds(world: World, gateway: NumberedGateway) -> None:
    other = NumberedGateway(world, "h")
    await other.join()
    await gateway.place(ask(single("a")), 1)
    await other.release(1)
    assert await gateway.held() == {1: record(Phase.PLACED, "m a")}


async def test_group_sums_come_back_too(world: World, gateway: NumberedGateway) -> None:
    await gateway.place(ask(single("a", group="g1")), 1)
    for phase in list(Phase)[1:]:
        await gateway.advance({1: record(phase, "m a").replace(" -", " g1")})
    await gateway.release(1)
    cells = await world.store.command("HGETALL", world.keys.group)
    assert dict(zip(cells[::2], cells[1::2], strict=True)) == {b"g1:q": b"0", b"g1:n": b"0", b"g1:k": b"0"}
