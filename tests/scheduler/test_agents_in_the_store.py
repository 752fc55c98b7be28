"""What the store makes of agents: claims, cards, farewells, and the gateways they reap."""

from __future__ import annotations

import pytest

from scheduler import admin
from scheduler.decision import Place
from scheduler.errors import StoreUnavailableError
from scheduler.keys import PoolKeys
from scheduler.messages import Phase
from scheduler.reporter import CLAIM_MS
from simulator.store import VirtualStore
from tests.polling import until
from tests.samples import card, report
from tests.scheduler.pools_at_work import reporter, running
from tests.scheduler.samples import SHAPE
from tests.scheduler.scene import SETTINGS, Wire


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
