"""All pools of a store, as a gateway finds them."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from scheduler import admin
from scheduler.decision import Place
from scheduler.errors import UnknownPolicyError
from scheduler.keys import PoolKeys
from scheduler.messages import RankState
from scheduler.pools import Pools
from simulator.store import VirtualStore
from tests.polling import until
from tests.samples import card, report
from tests.scheduler.pools_at_work import reporter, running
from tests.scheduler.samples import PAIRABLE, SHAPE, pd_card
from tests.scheduler.scene import SETTINGS, Wire

ODD_NAMES = ["meta-llama/Llama-3.1-8B", "a {b} c", "}{", "modèle très long", "a:b:c", "100%25", "x\ty", "{}", "日本"]


class TestPools:
    async def test_a_pool_is_found_with_its_ranks(self) -> None:
        store = VirtualStore()
        await reporter(store).report([report("a")], {"a": card("a")})
        async with running(store) as pools:
            await until(lambda: pools.names() == ["m"] and not pools.degraded, "the pool was found")
            assert pools.ready
            assert pools.get("m") is not None
            assert pools.get("other") is None

    @pytest.mark.parametrize(("connectors", "legs"), [({"nixl", "other"}, 2), ({"other"}, 1), (set(), 1)])
    async def test_ranks_are_paired_where_the_gateway_speaks_their_connector(
        self, connectors: set[str], legs: int
    ) -> None:
        store = VirtualStore()
        await reporter(store).report([report("p1"), report("d1")], {"p1": pd_card("p1"), "d1": pd_card("d1")})
        async with running(store, frozenset(connectors)) as pools:
            await until(lambda: pools.names() == ["m"] and not pools.degraded, "the pool was found")
            pool = pools.get("m")
            assert pool is not None
            decision = await pool.place(PAIRABLE)
            assert isinstance(decision, Place)
            assert len(decision.legs) == legs

    async def test_ranks_of_another_version_than_those_they_would_pair_with_are_told_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = VirtualStore()
        new = msgspec.structs.replace(pd_card("d2"), engine_version="9.9")
        cards = {"p1": pd_card("p1"), "d1": pd_card("d1"), "d2": new}
        agent = reporter(store)
        async with running(store, frozenset({"nixl"})):
            await agent.report([report(name) for name in cards], cards)
            await until(lambda: len(caplog.messages) > 0, "it was told")
            await agent.report([report("d1", state=RankState.DOWN)], cards)
            await until(lambda: len(caplog.messages) > 1, "it was told")
        paired, alone = cards["p1"].pair_class, new.pair_class
        assert caplog.messages == [
            f"decode ranks of m that are {alone} pair with no prefill rank; prefill ranks are: {paired}",
            f"prefill ranks of m that are {paired} pair with no decode rank; decode ranks are: {alone}",
        ]

    async def test_a_pool_that_begins_later_is_found(self) -> None:
        store = VirtualStore()
        async with running(store) as pools:
            await until(lambda: pools.ready, "first contact")
            assert pools.names() == []
            await reporter(store).report([report("a")], {"a": card("a")})
            await until(lambda: pools.names() == ["m"], "the pool was found")

    async def test_a_pool_without_ranks_is_not_offered(self) -> None:
        store = VirtualStore()
        agent = reporter(store)
        await agent.report([report("a")], {"a": card("a")})
        async with running(store) as pools:
            await until(lambda: pools.names() == ["m"], "the pool was found")
            await agent.goodbye()
            await until(lambda: pools.names() == [], "its ranks have left")
            assert pools.get("m") is None

    async def test_models_of_any_name_are_pools_of_their_own(self) -> None:
        store = VirtualStore()
        for name in ODD_NAMES:
            await reporter(store, name).report([report("a")], {"a": card("a", model=name)})
        async with running(store) as pools:
            await until(lambda: pools.names() == sorted(ODD_NAMES) and not pools.degraded, "all were found")
            for count, name in enumerate(ODD_NAMES):
                pool = pools.get(name)
                assert pool is not None
                for _ in range(count):
                    assert isinstance(await pool.place(SHAPE), Place)
            assert pools.reservations == sum(range(len(ODD_NAMES)))
            held = {rank.pool: rank.reservations for rank in (await admin.status(store, SETTINGS)).ranks}
            assert held == {name: count for count, name in enumerate(ODD_NAMES)}
        assert (await admin.status(store, SETTINGS)).reservations == 0

    async def test_a_store_that_is_away_at_the_start_is_waited_for(self) -> None:
        wire = Wire()
        await reporter(wire.store).report([report("a")], {"a": card("a")})
        wire.is_down = True
        async with running(wire) as pools:
            await asyncio.sleep(0.01)
            assert not pools.ready
            wire.is_down = False
            await until(lambda: pools.ready and pools.names() == ["m"], "the store was found")

    async def test_counters_of_all_pools_add_up(self) -> None:
        store = VirtualStore()
        for name in ("m", "o"):
            await reporter(store, name).report([report("a")], {"a": card("a")})
            await store.command("HSET", PoolKeys(name).seen, "junk", "junk")
            await store.command("ZADD", PoolKeys(name).change, 1, "junk")
        async with running(store) as pools:
            await until(lambda: len(pools.names()) == 2, "both were found")
            assert pools.counters["unreadable_rows"] >= 2

    def test_an_unknown_policy_is_refused_at_the_start(self) -> None:
        settings = msgspec.structs.replace(SETTINGS, policy="fastest")
        with pytest.raises(UnknownPolicyError):
            Pools(VirtualStore(), life="g", address="h:1", settings=settings)
