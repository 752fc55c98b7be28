"""Ranks are drained by name, by DP group and by node; what is left on them is told until they are empty."""

from __future__ import annotations

import msgspec
import pytest

from scheduler import admin, draining
from scheduler.decision import Place, Reject
from scheduler.draining import PooledRank, Selection
from scheduler.errors import UnknownRankError
from scheduler.keys import POOLS, PoolKeys
from scheduler.lua import Script
from simulator.store import VirtualStore
from tests.polling import until
from tests.samples import card, report
from tests.scheduler.pools_at_work import reporter, running
from tests.scheduler.samples import SHAPE
from tests.scheduler.scene import SETTINGS, at_work


async def a_store() -> VirtualStore:
    """Pool m has a and b in group g on nodes n1 and n2, and c on n1; pool o has d on n1."""
    store = VirtualStore()
    for pool, rank, node, group in (
        ("m", "a", "n1", "g"),
        ("m", "b", "n2", "g"),
        ("m", "c", "n1", ""),
        ("o", "d", "n1", ""),
    ):
        told = card(rank, node=node, dp_group=group)
        await reporter(store, pool, node).report([report(rank)], {rank: told})
    return store


async def drained_in(store: VirtualStore) -> set[str]:
    return {rank.rank for rank in (await admin.status(store, SETTINGS)).ranks if rank.drained}


class TestSelecting:
    @pytest.mark.parametrize(
        ("selection", "ranks"),
        [
            (Selection(rank="d"), {"d"}),
            (Selection(dp_group="g"), {"a", "b"}),
            (Selection(node="n1"), {"a", "c", "d"}),
        ],
    )
    async def test_all_ranks_that_are_meant_are_drained_and_put_back(
        self, selection: Selection, ranks: set[str]
    ) -> None:
        store = await a_store()
        assert {rank.rank for rank in await draining.drain(store, selection, SETTINGS)} == ranks
        assert await drained_in(store) == ranks
        assert {rank.rank for rank in await draining.drain(store, selection, SETTINGS, undo=True)} == ranks
        assert await drained_in(store) == set()

    async def test_a_group_is_drained_in_one_exchange(self) -> None:
        async with at_work("a", "b", card_of=lambda rank, life: card(rank, life, dp_group="g")) as scene:
            start = len(scene.wire.batches)
            drained = await draining.drain(scene.wire, Selection(dp_group="g"), SETTINGS)
            assert drained == [PooledRank("m", "a"), PooledRank("m", "b")]
            assert [Script.DRAIN] * 2 in scene.wire.batches[start:]

    @pytest.mark.parametrize(
        ("selection", "said"),
        [
            (Selection(rank="x"), "no rank 'x'; there are: a, b, c, d"),
            (Selection(dp_group="x"), "no DP group 'x'; there are: g"),
            (Selection(node="x"), "no node 'x'; there are: n1, n2"),
        ],
    )
    async def test_what_is_not_there_is_named_with_what_is(self, selection: Selection, said: str) -> None:
        store = await a_store()
        with pytest.raises(UnknownRankError) as raised:
            await draining.drain(store, selection, SETTINGS)
        assert str(raised.value) == said
        assert await drained_in(store) == set()

    async def test_a_pool_that_cannot_be_read_hides_no_node_of_another(self) -> None:
        store = await a_store()
        await store.command("SADD", POOLS, "broken")
        await store.command("SET", PoolKeys("broken").head, "e 1 1 1")
        await store.command("SET", PoolKeys("broken").change, "junk")
        assert len(await draining.drain(store, Selection(node="n1"), SETTINGS)) == 3
        with pytest.raises(UnknownRankError, match="no node 'x'; there are: n1, n2; pool broken cannot be read"):
            await draining.drain(store, Selection(node="x"), SETTINGS)


class TestPlacing:
    async def test_from_that_instant_on_no_gateway_places_there_however_old_its_snapshot(self) -> None:
        # Nor may a place that is late on a busy machine have the pool read anew.
        rarely = msgspec.structs.replace(SETTINGS, snapshot_ms=60_000, place_deadline_ms=60_000)
        async with at_work("a", "b", settings=rarely) as scene, running(scene.wire.store) as other:
            await until(lambda: other.names() == ["m"] and not other.degraded, "the other gateway has joined")
            second = other.get("m")
            assert second is not None
            await admin.drain(scene.wire.store, "a", SETTINGS)
            for pool in (scene.pool, second) * 20:
                decision = await pool.place(SHAPE)
                assert isinstance(decision, Place)
                assert decision.legs[0].card.rank == "b"
            assert not scene.pool.view.ranks["a"].drained, "its snapshot is older than the drain"

    async def test_a_pool_that_is_drained_whole_takes_nothing(self) -> None:
        async with at_work("a", "b") as scene:
            await draining.drain(scene.wire.store, Selection(node="n"), SETTINGS)
            assert isinstance(await scene.pool.place(SHAPE), Reject)

    async def test_alone_it_holds_from_the_first_snapshot_after_it(self) -> None:
        async with at_work("a", "b") as scene:
            await admin.drain(scene.wire.store, "a", SETTINGS)
            await until(lambda: scene.pool.view.ranks["a"].drained, "the gateway read of it")
            scene.wire.is_down = True
            await until(lambda: scene.pool.degraded, "the loss was noticed")
            assert {place.legs[0].card.rank for place in await scene.place(20)} == {"b"}
            assert scene.pool.counters["placed_alone"] == 20
