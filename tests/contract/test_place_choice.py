"""place: which alternative it takes."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.decision import LegKind
from tests.contract.world import NumberedGateway, World, sample
from tests.samples import ask, card, leg, record, single

P, D = LegKind.PREFILL, LegKind.DECODE


@pytest.fixture
async def ranks(world: World) -> None:
    await world.report(*(sample(rank) for rank in "abcd"))


@pytest.mark.usefixtures("ranks")
class TestSingles:
    async def test_the_cheapest_is_taken(self, gateway: NumberedGateway) -> None:
        reply = await gateway.place(ask(single("a", 3.0), single("b", 1.5), single("c", 2.0)))
        assert reply == [b"place", b"1.500000000", 2, 0, b""]

    async def test_a_reservation_counts_for_the_next(self, gateway: NumberedGateway) -> None:
        asked = ask(single("a", per_request_s=1), single("b", 0.5, per_request_s=1))
        assert [(await gateway.place(asked, each))[2] for each in (1, 2, 3, 4)] == [1, 2, 1, 2]

    async def test_a_reservation_of_another_gateway_counts_at_once(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        other = NumberedGateway(world, "h")
        await other.join()
        asked = ask(single("a", per_request_s=1), single("b", 0.5, per_request_s=1))
        assert (await gateway.place(asked))[2] == 1
        assert (await other.place(asked))[2] == 2

    @pytest.mark.parametrize("price", ["per_queued_token_s", "per_request_s", "per_kv_token_s"])
    async def test_each_load_has_its_price(self, gateway: NumberedGateway, price: str) -> None:
        prices: dict[str, Any] = {price: 1}
        await gateway.place(ask(single("a")), 1)
        reply = await gateway.place(ask(single("a", **prices), single("b", 0.01, **prices)), 2)
        assert reply[2] == 2

    @pytest.mark.parametrize(
        ("chance", "taken"),
        [(0.0, 1), (0.24, 1), (0.26, 2), (0.51, 3), (0.76, 4), (0.999_999, 4)],
    )
    async def test_chance_decides_between_equals(self, gateway: NumberedGateway, chance: float, taken: int) -> None:
        reply = await gateway.place(ask(*(single(rank) for rank in "abcd"), tie_break=chance))
        assert reply[2] == taken

    async def test_chance_has_no_say_between_unequals(self, gateway: NumberedGateway) -> None:
        reply = await gateway.place(ask(single("a", 1.0), single("b", 1.1), single("c", 1.1), tie_break=0.99))
        assert reply[2] == 1

    @pytest.mark.parametrize(("chance", "taken"), [(0.1, 2), (0.4, 3), (0.9, 4)])
    async def test_costs_no_more_than_the_tolerance_apart_are_ties(
        self, gateway: NumberedGateway, chance: float, taken: int
    ) -> None:
        candidates = (single("a", 1.21), single("b", 1.1), single("c", 1.0), single("d", 1.2))
        assert (await gateway.place(ask(*candidates, tie_s=0.2000001, tie_break=chance)))[2] == taken

    async def test_differences_below_a_nanosecond_are_ties(self, gateway: NumberedGateway) -> None:
        reply = await gateway.place(ask(single("a", 1.0), single("b", 1.0 + 1e-12), tie_break=0.9))
        assert reply[2] == 2


@pytest.mark.usefixtures("ranks")
class TestPairs:
    async def test_the_cheapest_pair_is_taken(self, gateway: NumberedGateway) -> None:
        asked = ask(
            prefills=(leg(P, "a", 2.0), leg(P, "b", 1.0)),
            decodes=(leg(D, "c", 0.7), leg(D, "d", 0.5)),
            transfer_s={"a": {"a": 0.25}},
        )
        assert await gateway.place(asked) == [b"place", b"1.750000000", 2, 4, b""]

    async def test_positions_count_singles_first(self, gateway: NumberedGateway) -> None:
        asked = ask(
            single("a", 9.0), prefills=(leg(P, "b", 1.0),), decodes=(leg(D, "c", 1.0),), transfer_s={"a": {"a": 0.0}}
        )
        assert (await gateway.place(asked))[2:4] == [2, 3]

    async def test_a_single_that_is_cheaper_than_the_pair_is_taken(self, gateway: NumberedGateway) -> None:
        asked = ask(
            single("a", 1.9), prefills=(leg(P, "b", 1.0),), decodes=(leg(D, "c", 1.0),), transfer_s={"a": {"a": 0.0}}
        )
        assert (await gateway.place(asked))[2:4] == [1, 0]

    async def test_the_transfer_between_two_classes_decides_too(self, gateway: NumberedGateway) -> None:
        asked = ask(
            prefills=(leg(P, "a", 1.0, place_class="x"), leg(P, "b", 1.2, place_class="y")),
            decodes=(leg(D, "c", 1.0, place_class="x"), leg(D, "d", 1.0, place_class="y")),
            transfer_s={"x": {"x": 0.5, "y": 9.0}, "y": {"y": 0.1}},
        )
        assert (await gateway.place(asked))[1:4] == [b"2.300000000", 2, 4]

    async def test_classes_without_a_transfer_never_pair(self, gateway: NumberedGateway) -> None:
        asked = ask(
            prefills=(leg(P, "a", place_class="x"),),
            decodes=(leg(D, "c", place_class="y"),),
            transfer_s={"x": {"x": 0.0}, "y": {"y": 0.0}},
        )
        assert await gateway.place(asked) == [b"reject"]

    async def test_the_tolerance_makes_prefill_legs_equal_and_no_decode_legs(self, gateway: NumberedGateway) -> None:
        asked = ask(
            prefills=(leg(P, "a", 1.0), leg(P, "b", 1.1)),
            decodes=(leg(D, "c", 1.0), leg(D, "d", 1.1)),
            transfer_s={"a": {"a": 0.0}},
            tie_s=0.2,
            tie_break=0.99,
        )
        assert (await gateway.place(asked))[2:4] == [2, 3]

    async def test_chance_decides_both_legs_apart(self, gateway: NumberedGateway) -> None:
        asked = ask(
            prefills=(leg(P, "a"), leg(P, "b")), decodes=(leg(D, "c"), leg(D, "d")), transfer_s={"a": {"a": 0.0}}
        )
        taken = set()
        for number, chance in enumerate((0.0, 0.25, 0.5, 0.75)):
            fields = {name: getattr(asked, name) for name in ("prefills", "decodes", "transfer_s")}
            taken.add(tuple((await gateway.place(ask(**fields, tie_break=chance), number + 1))[2:4]))
            await gateway.release(number + 1)
        assert taken == {(1, 3), (1, 4), (2, 3), (2, 4)}

    async def test_both_legs_are_reserved(self, world: World, gateway: NumberedGateway) -> None:
        asked = ask(prefills=(leg(P, "a"),), decodes=(leg(D, "c"),), transfer_s={"a": {"a": 0.0}})
        await gateway.place(asked, 7)
        assert await gateway.held() == {7: record(0, "p a", "d c")}
        assert await world.load_row("a") == [100, 1, 1, 0, 100, 0, 0]
        assert await world.load_row("c") == [0, 0, 1, 0, 110, 0, 0]


class TestWhatCannotBePlacedOn:
    @pytest.mark.parametrize(
        "make",
        [
            pytest.param({}, id="one nobody reported"),
            pytest.param({"state": "down"}, id="one that is down"),
            pytest.param({"incarnation": "i0"}, id="another life of the rank"),
            pytest.param({"drain": True}, id="a drained one"),
            pytest.param({"state": "gone"}, id="one that left"),
        ],
    )
    async def test_is_never_chosen(self, world: World, gateway: NumberedGateway, make: dict[str, str]) -> None:
        await world.report(sample("b"))
        if make:
            await world.report(sample("a"))
            await world.report(sample("a", make.get("incarnation", "i1"), state=make.get("state", "up")))
        if "drain" in make:
            await world.drain("a")
        assert (await gateway.place(ask(single("a"), single("b", 9.0)), 1))[2] == 2
        assert await gateway.place(ask(single("a")), 2) == [b"reject"]
        assert await gateway.held() == {1: record(0, "m b")}

    async def test_a_rank_may_be_chosen_again_when_it_is_not_drained_any_more(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        await world.report(sample("a"))
        await world.drain("a")
        await world.drain("a", undo=True)
        assert (await gateway.place(ask(single("a"))))[0] == b"place"

    async def test_a_pair_needs_both_of_its_ranks(self, world: World, gateway: NumberedGateway) -> None:
        await world.report(sample("a"), sample("b", state="down"))
        asked = ask(prefills=(leg(P, "a"),), decodes=(leg(D, "b"),), transfer_s={"a": {"a": 0.0}})
        assert await gateway.place(asked) == [b"reject"]


@pytest.mark.usefixtures("ranks")
class TestCaps:
    @pytest.mark.parametrize(
        ("cap", "fits", "too_small"),
        [("cap_queued_tokens", 100, 60), ("cap_requests", 1, 0), ("cap_kv_tokens", 110, 109)],
    )
    async def test_a_load_above_its_cap_makes_a_rank_full(
        self, gateway: NumberedGateway, cap: str, fits: float, too_small: float
    ) -> None:
        enough: dict[str, Any] = {cap: fits}
        await gateway.place(ask(single("a")), 1)
        assert await gateway.place(ask(single("a", **enough | {cap: too_small}), spill=False), 2) == [b"wait"]
        assert (await gateway.place(ask(single("a", **enough), spill=False), 3))[0] == b"place"

    async def test_a_full_rank_is_passed_over_for_a_dearer_one(self, gateway: NumberedGateway) -> None:
        await gateway.place(ask(single("a")), 1)
        assert (await gateway.place(ask(single("a", cap_requests=0), single("b", 500.0)), 2))[2] == 2

    async def test_an_idle_rank_is_never_full(self, gateway: NumberedGateway) -> None:
        full = single("a", cap_queued_tokens=0, cap_requests=0, cap_kv_tokens=0)
        assert (await gateway.place(ask(full, tokens=1_000_000, spill=False)))[0] == b"place"

    async def test_where_all_are_full_the_cheapest_is_taken_if_it_may_spill(self, gateway: NumberedGateway) -> None:
        for number, rank in enumerate("ab"):
            await gateway.place(ask(single(rank)), number + 1)
        full = (single("a", 2.0, cap_requests=0), single("b", 1.0, cap_requests=0))
        assert (await gateway.place(ask(*full, spill=True), 3))[2] == 2
        assert await gateway.place(ask(*full, spill=False), 4) == [b"wait"]

    async def test_waiting_reserves_nothing(self, world: World, gateway: NumberedGateway) -> None:
        await gateway.place(ask(single("a")), 1)
        before = await world.load_row("a")
        await gateway.place(ask(single("a", cap_requests=0), spill=False), 2)
        assert await world.load_row("a") == before
        assert list(await gateway.held()) == [1]
        assert (await gateway.renew(1))[0] == b"ok"

    async def test_a_pair_with_one_full_leg_is_full(self, gateway: NumberedGateway) -> None:
        await gateway.place(ask(single("c")), 1)
        asked = ask(
            prefills=(leg(P, "a"),),
            decodes=(leg(D, "c", cap_requests=0),),
            transfer_s={"a": {"a": 0.0}},
            spill=False,
        )
        assert await gateway.place(asked, 2) == [b"wait"]


async def test_a_dp_group_s_loads_are_those_of_all_its_ranks(world: World, gateway: NumberedGateway) -> None:
    await world.report(*(sample(rank) for rank in "abc"))
    await gateway.place(ask(single("a", group="g1")), 1)
    await gateway.place(ask(single("b", group="g1")), 2)
    asked = ask(single("b", group="g1", per_group_queued_token_s=1, per_group_request_s=1000, per_group_kv_token_s=1e6))
    assert float((await gateway.place(asked, 3))[1]) == 200 + 2_000 + 220e6
    await gateway.release(1, 2, 3)
    assert float((await gateway.place(asked, 4))[1]) == 0


async def test_an_empty_dp_group_weighs_nothing(world: World, gateway: NumberedGateway) -> None:
    await world.report(sample("a"))
    assert (await gateway.place(ask(single("a", group="g1", per_group_request_s=1))))[1] == b"0.000000000"


async def test_a_large_ask_is_answered(world: World, gateway: NumberedGateway) -> None:
    """16 + 16 candidates with long names, as the shortlist makes them."""
    names = [f"[fe80::1234:5678:9abc:{number:04x}]:8000#{number}" for number in range(32)]
    await world.report(*(sample(name) for name in names))
    asked = ask(
        prefills=tuple(leg(P, name, 2.0 - number / 100) for number, name in enumerate(names[:16])),
        decodes=tuple(leg(D, name, 2.0 - number / 100) for number, name in enumerate(names[16:])),
        transfer_s={"a": {"a": 0.0}},
    )
    assert (await gateway.place(asked))[2:4] == [16, 32]
    assert card(names[0]).rank in (await world.view()).ranks
