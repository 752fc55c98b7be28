"""What a gateway says to a store that was away, began anew, forgot or refused; and the dead it finds there."""

from __future__ import annotations

import asyncio

import pytest

from scheduler import calls
from scheduler.calls import Head
from scheduler.errors import SchedulerError, StoreRejectedError, StoreUnavailableError
from scheduler.lua import Script
from scheduler.messages import Phase
from tests.polling import until
from tests.scheduler.scene import HASTY, SETTINGS, Scene, at_work

KEYS_OF_A_RESYNC = 9


class TestLoss:
    async def test_a_lost_store_degrades_at_once_and_its_return_makes_the_ledger_exact(self) -> None:
        async with at_work("a", "b") as scene:
            before = await scene.place(3)
            scene.wire.is_down = True
            await until(lambda: scene.pool.degraded, "the loss was noticed")
            alone = await scene.place(4)
            assert all(place.alone for place in alone)
            scene.pool.release(before[0].reservation)
            scene.pool.advance(alone[0].reservation, Phase.DISPATCHED)
            scene.wire.is_down = False
            await until(lambda: not scene.pool.degraded, "the store is used again")
            await scene.becomes_exact()
            assert scene.pool.reservations == 6
            assert scene.pool.counters["store_losses"] == 1

    async def test_asks_that_are_on_their_way_are_answered_alone(self) -> None:
        async with at_work("a") as scene, asyncio.TaskGroup() as tasks:
            scene.wire.hold()
            asking = tasks.create_task(scene.place(3), name="asking")
            await asyncio.sleep(0)
            scene.wire.is_down = True
            scene.wire.let_go()
            assert [place.alone for place in await asking] == [True] * 3
            scene.wire.is_down = False
            await scene.becomes_exact()

    @pytest.mark.parametrize("lost", [1, 2, 3, 4])
    async def test_lost_replies_leave_no_difference(self, lost: int) -> None:
        async with at_work("a", "b") as scene:
            before = await scene.place(3)
            scene.wire.replies_to_lose = lost
            scene.pool.advance(before[0].reservation, Phase.DISPATCHED)
            scene.pool.release(before[1].reservation)
            await scene.place(2)
            await until(lambda: scene.wire.replies_to_lose == 0, "all losses happened")
            await scene.becomes_exact()
            assert scene.pool.reservations == 4

    async def test_a_store_that_began_anew_is_rebuilt(self) -> None:
        async with at_work("a") as scene:
            await scene.place(3)
            scene.wire.store.data.clear()
            await until(lambda: scene.pool.counters["resyncs"] > 0, "the gateway noticed")
            await scene.report("a")
            await scene.becomes_exact()
            assert scene.pool.reservations == 3

    async def test_a_stale_replica_that_takes_over_is_corrected(self) -> None:
        async with at_work("a", "b") as scene:
            before = await scene.place(4)
            await scene.becomes_exact()
            stale = scene.wire.store.snapshot()
            for place in before[:2]:
                scene.pool.release(place.reservation)
            await scene.place(3)
            await scene.becomes_exact()
            scene.wire.store.data = stale
            await until(lambda: scene.pool.counters["resyncs"] > 0, "the gateway noticed")
            await scene.becomes_exact()
            assert scene.pool.reservations == 5

    @pytest.mark.parametrize("refusal", [StoreRejectedError("no permission"), StoreUnavailableError("no memory")])
    async def test_statements_that_fail_leave_no_names_behind(self, refusal: SchedulerError) -> None:
        async with at_work("a") as scene:
            await scene.place(3)
            await scene.becomes_exact()
            scene.wire.refusal = refusal
            scene.wire.refused = frozenset({Script.RESYNC, Script.RENEW})
            start = len(scene.wire.batches)
            await until(lambda: scene.batches_since(start).count([Script.RESYNC]) >= 9, "nine statements failed")
            scene.wire.refused = frozenset()
            await until(lambda: not scene.pool.degraded, "the store is used again")
            await scene.becomes_exact()
            assert scene.wire.most_keys <= KEYS_OF_A_RESYNC + 2, "the name it had and the last that failed"

    async def test_a_large_set_is_stated_in_pieces(self) -> None:
        async with at_work("a") as scene:
            scene.wire.is_down = True
            await until(lambda: scene.pool.degraded, "the loss was noticed")
            await scene.place(1_201)
            start = len(scene.wire.batches)
            scene.wire.is_down = False
            await until(lambda: not scene.pool.degraded, "the store is used again")
            await scene.becomes_exact()
            assert scene.batches_since(start).count([Script.RESYNC]) == 3


class TestReaping:
    async def test_no_placement_waits_until_a_dead_gateway_s_reservations_are_given_back(self) -> None:
        async with at_work("a", settings=HASTY) as scene:
            scene.wire.may_reap.clear()
            await _dies_holding(scene, {1: "0 100 100 10 m a i1 -"})
            await until(lambda: scene.wire.reaps_asked > 0, "the dead gateway is being reaped")
            placed = [(await scene.place())[0] for _ in range(5)]
            assert [place.alone for place in placed] == [False] * 5
            scene.wire.may_reap.set()
            await scene.becomes_exact()

    async def test_a_reap_that_failed_is_made_again(self) -> None:
        async with at_work("a") as scene:
            scene.wire.may_reap.clear()
            await _dies_holding(scene, {1: "0 100 100 10 m a i1 -"})
            await until(lambda: scene.wire.reaps_asked > 0, "the dead gateway is being reaped")
            scene.wire.is_down = True
            scene.wire.may_reap.set()
            await until(lambda: scene.pool.degraded, "the loss was noticed")
            scene.wire.is_down = False
            await scene.becomes_exact()


async def _dies_holding(scene: Scene, records: dict[int, str]) -> None:
    """Another gateway held these, and its lease has ended."""
    head = Head(scene.pool.view.epoch, SETTINGS.lease_ms, "dead@host:2.1", 1)
    await scene.wire.store.run([calls.resync(scene.keys, head, (), records)])
    await scene.wire.store.command("ZADD", scene.keys.lease, 0, head.gateway)
    scene.wire.store.now_ms += 100
