"""rebind: which decode leg a request goes on with when its prefill is done, and what is written then."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scheduler.decision import Ask, LegKind
from scheduler.messages import Phase
from tests.contract.world import NumberedGateway, World, sample
from tests.samples import ask, leg, record, single

P, D = LegKind.PREFILL, LegKind.DECODE
DONE = record(Phase.PREFILL_DONE, "p a", "d b")
NOTHING = [0, 0, 0, 0, 0, 0, 0]
PREFILLED, DECODES = [0, 0, 0, 0, 0, 100, 0], [0, 0, 1, 1, 110, 0, 0]
"""Load rows of a prefill rank whose prompt waits to be fetched, and of a decode rank that is sent the request."""


def decodes(*ranks: tuple[str, float], **fields: Any) -> Ask:
    return ask(decodes=tuple(leg(D, rank, base_s) for rank, base_s in ranks), **fields)


@pytest.fixture(autouse=True)
async def ranks(world: World) -> None:
    await world.report(*(sample(rank) for rank in "abcd"))


@pytest.fixture
async def pair(gateway: NumberedGateway) -> NumberedGateway:
    """A gateway whose next number is 3: its reservation 1 is prefilled on a, and to be decoded on b."""
    placed = ask(prefills=(leg(P, "a"),), decodes=(leg(D, "b"),), transfer_s={"a": {"a": 0.0}})
    assert (await gateway.place(placed))[0] == b"place"
    await gateway.advance({1: record(Phase.DISPATCHED, "p a", "d b")})
    return gateway


class TestChoice:
    async def test_the_cheapest_decode_rank_is_taken(self, world: World, pair: NumberedGateway) -> None:
        reply = await pair.rebind(1, DONE, decodes(("b", 2.0), ("c", 0.5), ("d", 1.0)))
        assert reply == [b"place", b"0.500000000", 2, 0, b""]
        assert await pair.held() == {1: record(Phase.PREFILL_DONE, "p a", "d c")}
        assert [await world.load_row(rank) for rank in "abc"] == [PREFILLED, NOTHING, DECODES]

    async def test_it_may_stay_where_it_was_placed(self, world: World, pair: NumberedGateway) -> None:
        assert (await pair.rebind(1, DONE, decodes(("b", 0.0), ("c", 0.5))))[2] == 1
        assert await pair.held() == {1: DONE}
        assert [await world.load_row(rank) for rank in "ab"] == [PREFILLED, DECODES]

    async def test_the_loads_are_those_of_this_instant(self, world: World, pair: NumberedGateway) -> None:
        """Those of other gateways, too; and the request's own weight on its rank is for the asker to credit."""
        other = NumberedGateway(world, "h")
        await other.join()
        for each in (1, 2):
            await other.place(ask(single("c")), each)
        dear: dict[str, Any] = {"per_request_s": 1.0}
        candidates = (leg(D, "b", **dear), leg(D, "c", **dear))
        reply = await pair.rebind(1, DONE, ask(decodes=candidates, explain=True))
        assert reply[1:3] == [b"1.000000000", 1]
        assert [row[1] for row in json.loads(reply[4])] == [1, 2]
        credited = (leg(D, "b", 1.5, **dear), leg(D, "c", -0.75, **dear))
        assert (await pair.rebind(1, DONE, ask(decodes=credited)))[1:3] == [b"1.250000000", 2]

    async def test_the_cheapest_of_all_place_classes_is_taken(self, pair: NumberedGateway) -> None:
        costs = (("b", 2.0, "x"), ("c", 3.0, "y"), ("d", 1.0, "z"))
        asked = ask(decodes=tuple(leg(D, rank, base_s, place_class=kind) for rank, base_s, kind in costs))
        assert (await pair.rebind(1, DONE, asked))[2] == 3

    @pytest.mark.parametrize(("chance", "taken"), [(0.0, 1), (0.4, 2), (0.99, 3)])
    async def test_chance_decides_between_equals(self, pair: NumberedGateway, chance: float, taken: int) -> None:
        reply = await pair.rebind(1, DONE, decodes(("b", 0.0), ("c", 0.0), ("d", 0.0), tie_break=chance))
        assert reply[2] == taken

    async def test_the_tolerance_of_prefill_costs_does_not_make_decode_costs_equal(self, pair: NumberedGateway) -> None:
        asked = decodes(("b", 0.1), ("c", 0.0), ("d", 0.1), tie_s=5.0, tie_break=0.99)
        assert (await pair.rebind(1, DONE, asked))[2] == 2

    @pytest.mark.parametrize("state", ["down", "gone"])
    async def test_a_rank_that_is_not_up_is_passed_over(self, world: World, pair: NumberedGateway, state: str) -> None:
        await world.report(sample("b", state=state))
        assert (await pair.rebind(1, DONE, decodes(("b", 0.0), ("c", 9.0))))[2] == 2
        assert await world.load_row("b") in [None, NOTHING]

    async def test_a_drained_rank_is_passed_over(self, world: World, pair: NumberedGateway) -> None:
        await world.drain("b")
        assert (await pair.rebind(1, DONE, decodes(("b", 0.0), ("c", 9.0))))[2] == 2

    async def test_a_full_rank_is_taken_where_all_are(self, pair: NumberedGateway) -> None:
        full = (leg(D, "b", 2.0, cap_requests=0), leg(D, "c", 5.0))
        assert (await pair.rebind(1, DONE, ask(decodes=full, spill=False)))[2] == 2
        assert (await pair.rebind(1, DONE, ask(decodes=full[:1], spill=False)))[2] == 1

    async def test_a_name_with_a_percent_sign_or_of_one_letter_is_written_as_it_is(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        await world.report(sample("fe80::1%0"))
        done = record(Phase.PREFILL_DONE, "p d", "d d")
        await gateway.advance({1: done})
        await gateway.rebind(1, done, decodes(("fe80::1%0", 0.0)))
        assert await gateway.held() == {1: record(Phase.PREFILL_DONE, "p d", "d fe80::1%0")}

    async def test_a_dp_group_is_left_and_joined(self, world: World, gateway: NumberedGateway) -> None:
        done = record(Phase.PREFILL_DONE, "p a", "d b i1 g1")
        await gateway.advance({1: done})
        await gateway.rebind(1, done, ask(decodes=(leg(D, "c", group="g2"),)))
        assert await gateway.held() == {1: record(Phase.PREFILL_DONE, "p a", "d c i1 g2")}
        requests = await world.store.command("HMGET", world.keys.group, "g1:n", "g2:n", "g1:k", "g2:k")
        assert requests == [b"0", b"1", b"0", b"110"]


class TestNoRankLeft:
    async def test_the_record_is_written_as_it_was_given(self, world: World, pair: NumberedGateway) -> None:
        await world.report(*(sample(rank, state="down") for rank in "bc"))
        assert await pair.rebind(1, DONE, decodes(("b", 0.0), ("c", 0.0))) == [b"reject"]
        assert await pair.held() == {1: DONE}
        assert [await world.load_row(rank) for rank in "ab"] == [PREFILLED, DECODES]

    async def test_the_next_number_is_good(self, pair: NumberedGateway) -> None:
        assert await pair.rebind(1, DONE, decodes(("x", 0.0))) == [b"reject"]
        assert (await pair.renew(1))[0] == b"ok"


class TestUnknownReservations:
    async def test_one_that_the_ledger_does_not_know_is_not_created(self, world: World, pair: NumberedGateway) -> None:
        before = await world.contents()
        assert await pair.rebind(2, DONE, decodes(("c", 0.0))) == [b"resync"]
        assert await world.contents() == before

    async def test_nor_is_one_that_was_given_back(self, world: World, pair: NumberedGateway) -> None:
        await pair.release(1)
        before = await world.contents()
        assert await pair.rebind(1, DONE, decodes(("c", 0.0))) == [b"resync"]
        assert await world.contents() == before

    async def test_nor_one_of_another_gateway(self, world: World, pair: NumberedGateway) -> None:
        other = NumberedGateway(world, "h")
        await other.join()
        assert await other.rebind(1, DONE, decodes(("c", 0.0))) == [b"resync"]
        assert await pair.held() == {1: record(Phase.DISPATCHED, "p a", "d b")}


async def test_one_that_arrives_twice_is_applied_once(world: World, pair: NumberedGateway) -> None:
    await pair.rebind(1, DONE, decodes(("c", 0.0)))
    before = await world.contents()
    assert await pair.rebind(1, DONE, decodes(("d", 0.0)), number=3) == [b"resync"]
    assert await world.contents() == before


async def test_all_of_it_comes_back(world: World, pair: NumberedGateway) -> None:
    await pair.rebind(1, DONE, decodes(("c", 0.0)))
    await pair.advance({1: record(Phase.FIRST_TOKEN, "p a", "d c")})
    assert [await world.load_row(rank) for rank in "abc"] == [NOTHING, NOTHING, [0, 0, 1, 1, 0, 100, 5]]
    await pair.release(1)
    assert [await world.load_row(rank) for rank in "abc"] == [NOTHING] * 3
    assert (await pair.renew())[0] == b"ok"


async def test_the_next_prompt_s_progress_begins_when_the_prefill_is_done(world: World, pair: NumberedGateway) -> None:
    await pair.place(ask(single("a"), tokens=2_000), 2)
    await world.passes(1_000)
    await pair.rebind(1, DONE, decodes(("c", 0.0)))
    row: bytes = await world.store.command("HGET", world.keys.load, "a i1")
    assert int(row.split()[2]) == await world.pool_ms()
