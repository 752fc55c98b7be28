"""All pools of a store, their agents, and what operators ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import msgspec
import pytest

from scheduler import admin
from scheduler.decision import Place
from scheduler.errors import StoreUnavailableError, UnknownPolicyError, UnknownRankError
from scheduler.keys import POOLS, PoolKeys
from scheduler.messages import Phase, RankState
from scheduler.pools import Pools
from scheduler.reporter import CLAIM_MS, Reporter
from scheduler.store import Store
from simulator.store import VirtualStore
from tests.polling import until
from tests.samples import card, report
from tests.scheduler.samples import PAIRABLE, SHAPE, pd_card
from tests.scheduler.scene import SETTINGS, Wire

ODD_NAMES = ["meta-llama/Llama-3.1-8B", "a {b} c", "}{", "modèle très long", "a:b:c", "100%25", "x\ty", "{}", "日本"]


def reporter(store: Store, pool: str = "m", node: str = "n", seed: int = 1) -> Reporter:
    return Reporter(store, pool=pool, node=node, settings=SETTINGS, rng=Random(seed))


@asynccontextmanager
async def running(store: Store, connectors: frozenset[str] = frozenset()) -> AsyncIterator[Pools]:
    """Pools at work until the block ends."""
    pools = Pools(store, life="g", address="10.0.0.1:8000", settings=SETTINGS, connectors=connectors, rng=Random(3))
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(pools.run(), name="pools")
        yield pools
        keeping.cancel()


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
            await store.command("ZADD", PoolKeys(name).change, 1_000, "junk")
        async with running(store) as pools:
            await until(lambda: len(pools.names()) == 2, "both were found")
            assert pools.counters["unreadable_rows"] >= 2

    def test_an_unknown_policy_is_refused_at_the_start(self) -> None:
        settings = msgspec.structs.replace(SETTINGS, policy="fastest")
        with pytest.raises(UnknownPolicyError):
            Pools(VirtualStore(), life="g", address="h:1", settings=settings)


class TestReporter:
    async def test_a_rank_that_another_agent_claims_is_refused_by_name(self) -> None:
        store = VirtualStore()
        await reporter(store, node="node-1").report([report("a")], {"a": card("a")})
        other = reporter(store, node="node-2", seed=2)
        reply = await other.report([report("a"), report("b")], {"a": card("a"), "b": card("b")})
        assert reply.refused == {"a": "node-1"}

    async def test_an_agent_that_started_again_is_another(self) -> None:
        """Until the claim of its former life has ended."""
        store = VirtualStore()
        await reporter(store).report([report("a")], {"a": card("a")})
        again = reporter(store, seed=2)
        assert (await again.report([report("a")], {"a": card("a")})).refused == {"a": "n"}
        for _ in range(CLAIM_MS // 500 + 1):
            store.now_ms += 500
            reply = await again.report([report("a")], {"a": card("a")})
        assert reply.refused == {}

    @pytest.mark.parametrize("node", ["rack 1 / node 2", " ", "", "nœud"])
    async def test_a_node_may_have_any_name(self, node: str) -> None:
        store = VirtualStore()
        await reporter(store, node=node).report([report("a")], {"a": card("a")})
        (rank,) = (await admin.status(store, SETTINGS)).ranks
        assert rank.agent == "_".join(node.split())

    async def test_a_changed_card_is_told(self) -> None:
        store = VirtualStore()
        agent = reporter(store)
        await agent.report([report("a")], {"a": card("a")})
        await agent.report([report("a")], {"a": card("a", kv_capacity_tokens=7)})
        (rank,) = (await admin.status(store, SETTINGS)).ranks
        assert rank.kv_capacity_tokens == 7

    async def test_a_store_that_began_anew_is_told_everything_again(self) -> None:
        store = VirtualStore()
        agent = reporter(store)
        await agent.report([report("a")], {"a": card("a")})
        store.data.clear()
        await agent.report([report("a")], {"a": card("a")})
        assert [rank.rank for rank in (await admin.status(store, SETTINGS)).ranks] == ["a"]

    async def test_goodbye_takes_all_its_ranks_along_and_no_others(self) -> None:
        store = VirtualStore()
        agent = reporter(store)
        await agent.report([report("a")], {"a": card("a")})
        await agent.report([report("b")], {"b": card("b")})
        await reporter(store, node="o", seed=2).report([report("c")], {"c": card("c")})
        await agent.goodbye()
        assert [rank.rank for rank in (await admin.status(store, SETTINGS)).ranks] == ["c"]

    async def test_goodbye_without_ranks_says_nothing(self) -> None:
        wire = Wire()
        wire.is_down = True
        await reporter(wire).goodbye()

    async def test_a_lost_store_is_raised(self) -> None:
        wire = Wire()
        wire.is_down = True
        with pytest.raises(StoreUnavailableError):
            await reporter(wire).report([report("a")], {"a": card("a")})

    async def test_an_agent_reaps_gateways_that_fell_silent(self) -> None:
        store = VirtualStore()
        agent = reporter(store)
        await agent.report([report("a")], {"a": card("a")})
        async with running(store) as pools:
            await until(lambda: pools.names() == ["m"] and not pools.degraded, "the pool was found")
            pool = pools.get("m")
            assert pool is not None
            decision = await pool.place(SHAPE)
            assert isinstance(decision, Place)
            pool.advance(decision.reservation, Phase.FIRST_TOKEN)
            await until(lambda: _first_token(store), "the ledger knows")
            dead = store.snapshot()
        store.data = dead  # as if the gateway had been killed before it could say goodbye
        for _ in range(6):
            store.now_ms += 490
            await agent.report([report("a")], {"a": card("a")})
        now = await admin.status(store, SETTINGS)
        assert (now.reservations, now.gateways, now.ranks[0].reservations) == (0, [], 0)


async def _first_token(store: VirtualStore) -> bool:
    (row,) = (await store.command("HGETALL", PoolKeys("m").load))[1::2]
    return bool(row.split()[6] != b"0")


class TestAdmin:
    async def test_status_of_an_empty_store_is_empty(self) -> None:
        assert await admin.status(VirtualStore(), SETTINGS) == admin.Status(
            ranks=[], gateways=[], reservations=0, unreadable=0
        )

    async def test_status_names_ranks_and_gateways(self) -> None:
        store = VirtualStore()
        await reporter(store).report([report("a", running=2, waiting=1)], {"a": card("a", dp_group="g1")})
        async with running(store) as pools:
            await until(lambda: pools.names() == ["m"] and not pools.degraded, "the pool was found")
            now = await admin.status(store, SETTINGS)
        (rank,), (gateway,) = now.ranks, now.gateways
        assert (rank.pool, rank.rank, rank.state, rank.agent) == ("m", "a", RankState.UP, "n")
        assert (rank.dp_group, rank.requests, rank.reservations, rank.drained) == ("g1", 3, 0, False)
        assert (gateway.pool, gateway.gateway, gateway.address) == ("m", "g", "10.0.0.1:8000")
        assert (gateway.reservations, gateway.lease_ms) == (0, SETTINGS.lease_ms)

    async def test_what_cannot_be_read_is_counted(self) -> None:
        store = VirtualStore()
        await reporter(store).report([report("a"), report("b")], {"a": card("a"), "b": card("b")})
        keys = PoolKeys("m")
        await store.command("HSET", keys.card, "a", "junk")
        await store.command("HSET", keys.gate, "stranger", "junk", "another", b"\xff")
        now = await admin.status(store, SETTINGS)
        assert ([rank.rank for rank in now.ranks], now.unreadable) == (["b"], 3)

    async def test_a_pool_without_an_epoch_has_no_ranks(self) -> None:
        store = VirtualStore()
        await store.command("SADD", POOLS, "m")
        assert (await admin.status(store, SETTINGS)).ranks == []

    async def test_a_rank_is_drained_in_the_pool_that_has_it(self) -> None:
        store = VirtualStore()
        for pool, rank in (("m", "a"), ("o", "b")):
            await reporter(store, pool).report([report(rank)], {rank: card(rank)})
        assert await admin.drain(store, "b", SETTINGS) == "o"
        assert [rank.drained for rank in (await admin.status(store, SETTINGS)).ranks] == [False, True]
        assert await admin.drain(store, "b", SETTINGS, undo=True) == "o"
        assert [rank.drained for rank in (await admin.status(store, SETTINGS)).ranks] == [False, False]

    @pytest.mark.parametrize(("ranks", "there"), [([], "none"), (["b", "a"], "a, b")])
    async def test_an_unknown_rank_is_named_with_those_there_are(self, ranks: list[str], there: str) -> None:
        store = VirtualStore()
        await reporter(store).report([report(name) for name in ranks], {name: card(name) for name in ranks})
        with pytest.raises(UnknownRankError, match=f"no rank 'x'; there are: {there}"):
            await admin.drain(store, "x", SETTINGS)
