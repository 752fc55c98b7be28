"""Pairs go on from their prefill where that is best by then, or where they can."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from scheduler import admin
from scheduler.decision import Leg, LegKind
from scheduler.lua import Script
from scheduler.messages import Phase, RankState
from tests.polling import until
from tests.samples import report
from tests.scheduler.pool_pairs import TWO_AND_TWO, down, other, pair, pairs_at_work, placed
from tests.scheduler.samples import PAIRABLE, pd_card
from tests.scheduler.scene import SETTINGS, at_work

ASKED = "the rebinding was asked for"


class TestRebinding:
    async def test_a_pair_goes_on_where_it_was_placed(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene:
            for place in [await pair(scene) for _ in range(6)]:
                assert await scene.pool.rebind(place.reservation) == place.legs[1]
                assert scene.pool._ledger.live[place.reservation].phase is Phase.PREFILL_DONE
            await scene.becomes_exact()

    async def test_a_pair_goes_on_where_there_is_less_to_do_by_now(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene:
            held = [await pair(scene) for _ in range(8)]
            (stays, *_), leaves = ([each for each in held if each.legs[1].card.rank == name] for name in ("d1", "d2"))
            for each in leaves:
                scene.pool.release(each.reservation)
            leg = await scene.pool.rebind(stays.reservation)
            assert leg is not None
            assert (leg.kind, leg.card.rank) == (LegKind.DECODE, "d2")
            await scene.becomes_exact()

    async def test_a_pair_whose_decode_rank_went_down_goes_on_elsewhere(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene:
            place = await pair(scene)
            placed_on = place.legs[1].card.rank
            await down(scene, placed_on)
            leg = await scene.pool.rebind(place.reservation)
            assert leg is not None
            assert leg.card.rank == other(placed_on)
            await scene.becomes_exact()

    async def test_the_store_may_know_that_it_went_down_before_the_gateway_does(self) -> None:
        rarely = msgspec.structs.replace(SETTINGS, snapshot_ms=60_000)
        async with at_work(*TWO_AND_TWO, settings=rarely, policy="least_work", card_of=pd_card) as scene:
            place = await pair(scene)
            placed_on = place.legs[1].card.rank
            await scene.agent.report([report(placed_on, state=RankState.DOWN)], {placed_on: pd_card(placed_on)})
            leg = await scene.pool.rebind(place.reservation)
            assert leg is not None
            assert leg.card.rank == other(placed_on)

    async def test_a_rank_that_took_no_connection_is_left(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene:
            place = await pair(scene)
            scene.pool.shun(place.legs[1].card.rank)
            leg = await scene.pool.rebind(place.reservation)
            assert leg is not None
            assert leg.card.rank == other(place.legs[1].card.rank)

    async def test_without_a_decode_rank_a_pair_cannot_go_on(self) -> None:
        async with pairs_at_work("p1", "d1") as scene:
            place = await pair(scene)
            await down(scene, "d1")
            assert await scene.pool.rebind(place.reservation) is None
            assert scene.pool._ledger.live[place.reservation].phase is Phase.PREFILL_DONE

    async def test_nor_where_only_the_store_knows_that_there_is_none(self) -> None:
        rarely = msgspec.structs.replace(SETTINGS, snapshot_ms=60_000)
        async with at_work("p1", "d1", settings=rarely, policy="least_work", card_of=pd_card) as scene:
            place = await pair(scene)
            await scene.agent.report([report("d1", state=RankState.DOWN)], {"d1": pd_card("d1")})
            assert await scene.pool.rebind(place.reservation) is None

    async def test_a_pair_that_was_given_back_does_not_go_on(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene:
            place = await pair(scene)
            scene.pool.release(place.reservation)
            assert await scene.pool.rebind(place.reservation) is None

    async def test_a_pair_given_back_while_it_is_rebound_stays_given_back(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene, asyncio.TaskGroup() as tasks:
            place = await pair(scene)
            scene.wire.hold()
            going_on = tasks.create_task(scene.pool.rebind(place.reservation), name="going on")
            await until(lambda: any(Script.REBIND in batch for batch in scene.wire.batches), ASKED)
            scene.pool.release(place.reservation)
            scene.wire.let_go()
            assert await going_on is None
            await scene.becomes_exact()
            assert scene.pool.reservations == 0

    async def test_a_client_that_leaves_meanwhile_harms_nothing(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene, asyncio.TaskGroup() as tasks:
            place = await pair(scene)
            scene.wire.hold()
            going_on = tasks.create_task(scene.pool.rebind(place.reservation), name="going on")
            await until(lambda: any(Script.REBIND in batch for batch in scene.wire.batches), ASKED)
            going_on.cancel()
            scene.wire.let_go()
            await scene.becomes_exact()
            scene.pool.release(place.reservation)
            await scene.becomes_exact()


class TestRebindingAlone:
    @pytest.mark.parametrize("is_slow", [True, False])
    async def test_a_pair_stays_where_it_is(self, *, is_slow: bool) -> None:
        soon = msgspec.structs.replace(SETTINGS, place_deadline_ms=20)
        async with at_work(*TWO_AND_TWO, settings=soon, policy="least_work", card_of=pd_card) as scene:
            place = await pair(scene)
            if is_slow:
                scene.wire.hold()
            else:
                scene.wire.is_down = True
                await until(lambda: scene.pool.degraded, "the loss was noticed")
            assert await scene.pool.rebind(place.reservation) == place.legs[1]
            assert scene.pool._ledger.live[place.reservation].phase is Phase.PREFILL_DONE
            scene.wire.is_down = False
            scene.wire.let_go()
            await scene.becomes_exact()

    async def test_a_pair_whose_decode_rank_is_gone_goes_on_elsewhere(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene:
            place = await pair(scene)
            scene.wire.is_down = True
            await until(lambda: scene.pool.degraded, "the loss was noticed")
            scene.pool.shun(place.legs[1].card.rank)
            leg = await scene.pool.rebind(place.reservation)
            assert leg == Leg(kind=LegKind.DECODE, card=pd_card(other(place.legs[1].card.rank)))
            scene.wire.is_down = False
            await scene.becomes_exact()
            assert [each.rank for each in scene.pool._ledger.live[place.reservation].legs] == [
                place.legs[0].card.rank,
                leg.card.rank,
            ]


class TestAvoiding:
    async def test_a_rebinding_does_not_go_back_to_a_rank_that_failed(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene:
            for _ in range(4):  # the rank to avoid is the idle one
                await pair(scene)
            place = placed(await scene.pool.place(PAIRABLE, avoid=frozenset({"d1"})))
            leg = await scene.pool.rebind(place.reservation, avoid=frozenset({"d1"}))
            assert leg is not None
            assert (place.legs[-1].card.rank, leg.card.rank) == ("d2", "d2")

    async def test_a_prefill_goes_on_where_it_was_placed_though_the_rank_is_drained_meanwhile(self) -> None:
        async with pairs_at_work("p1", "d1") as scene:
            place = await pair(scene)
            await admin.drain(scene.wire.store, "d1", SETTINGS)
            await until(lambda: scene.pool.view.ranks["d1"].drained, "the gateway read of it")
            leg = await scene.pool.rebind(place.reservation)
            assert leg is not None
            assert leg.card.rank == "d1"

    async def test_it_does_not_where_the_rank_is_down(self) -> None:
        async with pairs_at_work("p1", "d1") as scene:
            place = await pair(scene)
            await down(scene, "d1")
            assert await scene.pool.rebind(place.reservation) is None
