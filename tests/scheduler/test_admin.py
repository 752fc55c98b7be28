"""What operators ask of a store: its status, and drains."""

from __future__ import annotations

import pytest

from scheduler import admin
from scheduler.breaker import Breaker
from scheduler.errors import UnknownRankError
from scheduler.keys import POOLS, PoolKeys
from scheduler.messages import RankState
from simulator.store import VirtualStore
from tests.polling import until
from tests.samples import card, report
from tests.scheduler.pools_at_work import reporter, running
from tests.scheduler.scene import SETTINGS


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

    async def test_ranks_that_get_nothing_because_of_their_dp_group_say_so(self) -> None:
        store = VirtualStore()
        cards = {name: card(name, dp_group=group) for name, group in (("a", "g1"), ("b", "g1"), ("c", "g2"), ("d", ""))}
        await reporter(store).report([report("a", state=RankState.DOWN), *map(report, "bcd")], cards)
        found = {rank.rank: rank.is_group_broken for rank in (await admin.status(store, SETTINGS)).ranks}
        assert found == {"a": True, "b": True, "c": False, "d": False}

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

    async def test_only_a_rank_that_is_up_is_shown_to_start_slowly(self) -> None:
        store = VirtualStore()
        agent, told = reporter(store), card("a")
        await agent.report([report("a")], {"a": told})
        await store.command("HSET", PoolKeys("m").breaker, "a", Breaker(told.incarnation, back_ms=0).row())
        assert [rank.breaker for rank in (await admin.status(store, SETTINGS)).ranks] == ["starting"]
        await agent.report([report("a", state=RankState.DOWN)], {"a": told})
        assert [rank.breaker for rank in (await admin.status(store, SETTINGS)).ranks] == ["closed"]

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
