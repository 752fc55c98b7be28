"""One pool as a gateway uses it: placing and leaving."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from scheduler import admin
from scheduler.decision import Place, Reject
from scheduler.messages import Phase
from tests.polling import until
from tests.scheduler.samples import SHAPE
from tests.scheduler.scene import SETTINGS, at_work


class TestLeaving:
    async def test_a_gateway_that_ends_gives_everything_back(self) -> None:
        async with at_work("a", "b") as scene:
            for place in await scene.place(7):
                scene.pool.advance(place.reservation, Phase.FIRST_TOKEN)
        assert await scene.is_exact()
        assert scene.pool.reservations == 0
        assert await scene.wire.store.command("HKEYS", scene.keys.gate) == []

    @pytest.mark.parametrize("steps", range(12))
    async def test_a_gateway_that_ends_within_an_exchange_gives_everything_back(self, steps: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            async with at_work("a") as scene:
                held = await scene.place(5)
                for place in held[:3]:
                    scene.pool.release(place.reservation)
                asking = tasks.create_task(scene.place(2), name="asking")
                for _ in range(steps):
                    await asyncio.sleep(0)
            await asking
        assert await scene.wire.store.command("HKEYS", scene.keys.gate) == []
        now = await admin.status(scene.wire.store, scene.settings)
        assert (now.reservations, [rank.reservations for rank in now.ranks]) == (0, [0])

    async def test_a_gateway_that_ends_while_the_store_is_away_ends_all_the_same(self) -> None:
        async with at_work("a") as scene:
            await scene.place(2)
            scene.wire.is_down = True
        assert scene.pool.reservations == 0

    async def test_an_ask_that_waits_while_the_gateway_ends_is_answered(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            async with at_work("a") as scene:
                scene.wire.hold()
                asking = tasks.create_task(scene.place(), name="asking")
                await asyncio.sleep(0.001)
            assert len(await asking) == 1


class TestPlacing:
    @pytest.mark.parametrize("is_down", [False, True])
    async def test_what_only_one_rank_can_serve_holds_a_reservation_there(self, is_down: bool) -> None:
        async with at_work("a", "b") as scene:
            scene.wire.is_down = is_down
            for rank in ("b", "a", "b"):
                place = await scene.pool.place(msgspec.structs.replace(SHAPE, only_on=rank))
                assert isinstance(place, Place)
                assert [leg.card.rank for leg in place.legs] == [rank]
            assert scene.pool.reservations == 3
            assert isinstance(await scene.pool.place(msgspec.structs.replace(SHAPE, only_on="c")), Reject)
            scene.wire.is_down = False

    async def test_a_receipt_shows_what_was_seen(self) -> None:
        async with at_work("a", "b") as scene:
            await scene.place()
            decision = await scene.pool.place(SHAPE, receipt_for="r")
            assert isinstance(decision, Place)
            assert {each.rank: each.requests for each in decision.receipt} in ({"a": 1, "b": 0}, {"a": 0, "b": 1})
            assert (decision.cost_s, decision.alone) == (0, False)

    async def test_a_rank_that_restarted_since_the_snapshot_is_found(self) -> None:
        rarely = msgspec.structs.replace(SETTINGS, snapshot_ms=60_000)
        async with at_work("a", settings=rarely) as scene:
            await scene.report("a", incarnation="i2")
            (place,) = await scene.place()
            assert (place.legs[0].card.incarnation, place.alone) == ("i2", False)

    async def test_without_a_rank_to_place_on_a_request_is_rejected(self) -> None:
        async with at_work("a") as scene:
            await scene.agent.goodbye()
            await until(lambda: not scene.pool.view.ranks, "the gateway read of it")
            decision = await scene.pool.place(SHAPE)
            assert isinstance(decision, Reject)
            assert decision.reason == "no rank of m can take a request now"

    async def test_alone_a_gateway_spreads_by_its_own_counts(self) -> None:
        async with at_work("a", "b") as scene:
            scene.wire.is_down = True
            await until(lambda: scene.pool.degraded, "the loss was noticed")
            ranks = [place.legs[0].card.rank for place in await scene.place(6)]
            assert sorted(ranks) == ["a"] * 3 + ["b"] * 3

    async def test_a_rank_to_avoid_is_taken_only_where_no_other_is_left(self) -> None:
        async with at_work("a", "b") as scene:
            for avoid, expected in [({"a"}, {"b"}), ({"b"}, {"a"}), ({"a", "b"}, {"a", "b"})]:
                decision = await scene.pool.place(SHAPE, avoid=frozenset(avoid))
                assert isinstance(decision, Place)
                assert decision.legs[0].card.rank in expected
