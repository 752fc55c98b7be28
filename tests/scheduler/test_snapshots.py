"""Snapshots: one reader however many ask, whole again after any doubt."""

from __future__ import annotations

import asyncio
from random import Random

import msgspec
import pytest

from scheduler import admin
from scheduler.calls import Call, Reply
from scheduler.decision import Place, Reject
from scheduler.errors import SchedulerError, StoreRejectedError
from scheduler.lua import Script
from scheduler.messages import RankState
from scheduler.settings import SchedulerSettings
from simulator.store import VirtualStore
from tests.polling import until
from tests.samples import card, report
from tests.scheduler.samples import SHAPE
from tests.scheduler.scene import SETTINGS, Scene, Wire, at_work

RARELY = msgspec.structs.replace(SETTINGS, snapshot_ms=60_000)


def count_snapshots(wire: Wire) -> list[int]:
    """A list that grows by one with every snapshot asked for."""
    asked: list[int] = []
    run = wire.store.run

    async def counting(calls: list[Call]) -> list[Reply]:
        asked.extend(1 for call in calls if call.script is Script.SNAPSHOT)
        return await run(calls)

    wire.store.run = counting  # type: ignore[assignment, method-assign]
    return asked


def refuse_snapshots(wire: Wire, refusal: SchedulerError) -> list[int]:
    """A list that grows by one with every snapshot refused."""
    asked: list[int] = []
    run = wire.store.run

    async def refusing(calls: list[Call]) -> list[Reply]:
        if calls[0].script is Script.SNAPSHOT:
            asked.append(1)
            raise refusal
        return await run(calls)

    wire.store.run = refusing  # type: ignore[assignment, method-assign]
    return asked


async def test_however_many_requests_are_rejected_the_store_is_asked_once() -> None:
    async with at_work("a", settings=RARELY) as scene:
        await scene.agent.goodbye()
        asked = count_snapshots(scene.wire)
        decisions = await asyncio.gather(*(scene.pool.place(SHAPE) for _ in range(150)))
        assert all(isinstance(decision, Reject) for decision in decisions)
        assert 1 <= len(asked) <= 2


async def test_a_rejected_request_waits_for_a_silent_store_no_longer_than_its_deadline() -> None:
    hasty = msgspec.structs.replace(SETTINGS, place_deadline_ms=20)
    async with at_work("a", settings=hasty) as scene:
        await scene.agent.goodbye()
        await until(lambda: not scene.pool.view.ranks, "the gateway read of it")
        scene.wire.hold()
        async with asyncio.timeout(5):
            assert isinstance(await scene.pool.place(SHAPE), Reject)


async def test_a_rank_that_came_while_a_promoted_replica_caught_up_is_seen() -> None:
    async with at_work("a", "b") as scene:
        replica = scene.wire.store.snapshot()
        for _ in range(30):
            await scene.report("a", "b")
        await until(lambda: scene.pool.view.version >= 30, "the gateway knows a later version")
        scene.wire.store.data = replica
        for _ in range(60):
            await scene.report("a", incarnation="i2")
        await until(
            lambda: "a" in scene.pool.view.ranks and scene.pool.view.ranks["a"].card.incarnation == "i2",
            "the gateway sees the rank's new life",
        )


async def test_a_rank_that_left_before_the_writes_that_were_lost_is_gone() -> None:
    async with at_work("a", "b") as scene:
        replica = scene.wire.store.snapshot()
        await scene.report("c")
        await until(lambda: "c" in scene.pool.view.ranks, "the gateway knows the third rank")
        scene.wire.store.data = replica
        for _ in range(20):
            await scene.report("a", "b")
        await until(lambda: set(scene.pool.view.ranks) == {"a", "b"}, "the rank nobody reports is gone")


@pytest.mark.parametrize("settings", [SETTINGS, RARELY])
async def test_while_a_store_is_rebuilt_the_first_ranks_back_do_not_get_everything(settings: SchedulerSettings) -> None:
    async with at_work("a", "b", "c", settings=settings) as scene:
        scene.wire.store.data = {}
        await scene.report("a")
        await until(lambda: scene.pool.degraded and not ledger_is_lost(scene), "the gateway is back")
        placed = [place for _ in range(10) for place in await scene.place(3)]
        assert all(place.alone for place in placed)
        assert len({place.legs[0].card.rank for place in placed}) > 1
        await scene.report("b", "c")
        scene.pool._snapshots.hurry()
        await until(lambda: not scene.pool.degraded, "all are back")
        assert [place.alone for place in await scene.place()] == [False]


async def test_a_store_that_is_lost_again_while_it_is_rebuilt_is_given_its_time_again() -> None:
    async with at_work("a") as scene:
        for _ in range(2):
            scene.wire.store.data = {}
            await until(lambda: scene.pool._ledger.names.epoch == epoch_of(scene) != "", "the gateway is back")
            scene.now_s += 7
            await a_snapshot_is_read(scene)
            assert scene.pool.degraded
            assert [place.alone for place in await scene.place()] == [True]
        scene.now_s += 11
        await until(lambda: not scene.pool.view.ranks, "the pool is believed to be empty")


async def test_ranks_that_a_stale_replica_never_heard_of_are_waited_for() -> None:
    async with at_work("a") as scene:
        replica = scene.wire.store.snapshot()
        for _ in range(
            5
        ):  # so many changes are lost that what the gateway itself writes anew does not make up for them
            await scene.report("b")
        changes = version_of(scene)
        await until(lambda: scene.pool.view.version >= changes, "the gateway knows of all that will be lost")
        scene.wire.store.data = replica
        await until(lambda: scene.pool.degraded, "the loss was noticed")
        assert [place.alone for place in await scene.place()] == [True]
        await scene.report("a", "b")
        await until(lambda: not scene.pool.degraded, "all are back")
        assert set(scene.pool.view.ranks) == {"a", "b"}


async def test_a_rank_that_does_not_come_back_is_given_up() -> None:
    async with at_work("a", "b") as scene:
        scene.wire.store.data = {}
        await scene.report("a")
        await until(lambda: scene.pool.degraded and not ledger_is_lost(scene), "the gateway is back")

        def is_one_rank() -> bool:
            scene.now_s += 0.1
            return set(scene.pool.view.ranks) == {"a"} and not scene.pool.degraded

        await until(is_one_rank, "the pool is one rank")


def ledger_is_lost(scene: Scene) -> bool:
    return scene.pool._ledger.degraded


def epoch_of(scene: Scene) -> str:
    """The store's; empty where there is none."""
    head: bytes = scene.wire.store.data.get(scene.keys.head.encode(), b"")
    return head.partition(b" ")[0].decode()


def version_of(scene: Scene) -> int:
    """The store's."""
    head: bytes = scene.wire.store.data[scene.keys.head.encode()]
    return int(head.split()[3])


async def a_snapshot_is_read(scene: Scene) -> None:
    await scene.pool._snapshots.newer()


async def test_a_row_that_could_not_be_read_once_hides_its_rank_only_until_it_is_mended() -> None:
    async with at_work("a", "b") as scene:
        await scene.wire.store.command("HSET", scene.keys.seen, "a", "i1 odd 0 0 0 0 1 n/1 0 0")
        await scene.wire.store.command("ZADD", scene.keys.change, version_of(scene) + 1, "a")
        await until(lambda: "a" not in scene.pool.view.ranks, "the unreadable rank is not in the view")
        await scene.wire.store.command("HDEL", scene.keys.seen, "a")
        await scene.report("a")
        scene.now_s += 2
        await until(lambda: "a" in scene.pool.view.ranks, "the mended rank is back")


@pytest.mark.parametrize("steps_s", [[1.0], [0.25] * 12], ids=["at once", "with snapshots between"])
async def test_a_row_that_is_mended_without_a_new_version_is_read_a_second_later(steps_s: list[float]) -> None:
    async with at_work("a", "b") as scene:
        store = scene.wire.store
        row = await store.command("HGET", scene.keys.seen, "a")
        await store.command("HSET", scene.keys.seen, "a", "i1 odd 0 0 0 0 1 n/1 0 0")
        await admin.drain(store, "a", SETTINGS)
        await until(lambda: "a" not in scene.pool.view.ranks, "the unreadable rank is not in the view")
        await store.command("HSET", scene.keys.seen, "a", row)
        for step_s in steps_s:
            scene.now_s += step_s
            await a_snapshot_is_read(scene)
        assert "a" in scene.pool.view.ranks


async def test_snapshots_that_fail_are_counted_once_and_the_ledger_is_asked_all_the_same() -> None:
    async with at_work("a") as scene:
        asked = refuse_snapshots(scene.wire, StoreRejectedError("no permission to read"))
        await until(lambda: len(asked) >= 5, "five snapshots failed")
        assert scene.pool.counters["snapshot_losses"] == 1
        assert scene.pool.complaint == "no permission to read"
        assert not scene.pool.degraded
        scene.now_s += 11
        assert (scene.pool.snapshot_age_s, scene.pool.degraded) == (11, True)
        assert [place.alone for place in await scene.place()] == [False]
        scene.wire.store.run = VirtualStore.run.__get__(scene.wire.store)  # type: ignore[method-assign]
        await until(lambda: not scene.pool.degraded, "a snapshot was read")
        assert scene.pool.snapshot_age_s == 0


async def test_a_rank_that_took_no_connection_is_left_out_for_a_while() -> None:
    async with at_work("a", "b") as scene:
        scene.pool.shun("a")
        assert {place.legs[0].card.rank for place in await scene.place(4)} == {"b"}
        scene.now_s += 3
        assert "a" in {place.legs[0].card.rank for place in await scene.place(4)}


async def test_the_dp_group_of_a_drained_rank_is_not_placed_on() -> None:
    scene = Scene(SETTINGS)
    cards = {name: card(name, dp_group="g" if name != "c" else "") for name in "abc"}
    await scene.agent.report([report(name, state=RankState.UP) for name in "abc"], cards)
    await scene.wire.store.command("HSET", scene.keys.drain, "a", 1)
    await scene.agent.report([report(name) for name in "abc"], cards)
    await scene.pool.refresh()
    assert {rank.card.rank for rank in scene.pool.view.placeable()} == {"c"}


async def test_alone_equal_prompts_of_all_gateways_meet_on_two_of_many_ranks() -> None:
    names = [f"r{number}" for number in range(64)]
    taken = set()
    for seed in range(10):
        scene = Scene(SETTINGS, policy="least_work")
        await scene.report(*names)
        await scene.pool.refresh()
        scene.pool._rng = Random(seed)
        for _ in range(10):
            decision = await scene.pool.place(SHAPE)
            assert isinstance(decision, Place)
            assert decision.alone
            taken.add(decision.legs[0].card.rank)
    assert len(taken) <= 2
