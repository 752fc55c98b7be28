"""A pool whose keys are junk does not take the others from an operator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from scheduler import admin
from scheduler.errors import UnknownRankError
from scheduler.keys import POOLS, PoolKeys
from scheduler.reporter import Reporter
from scheduler.store import Store, open_store
from tests.samples import card, report
from tests.scheduler.scene import SETTINGS
from tests.servers import needs_redis, redis_server


@asynccontextmanager
async def beside_a_poisoned_pool(folder: Path, poisoned: str) -> AsyncIterator[Store]:
    """A store with rank `a` in pool `m`, and a pool `b` whose key `poisoned` is of the wrong type."""
    with redis_server(folder) as server:
        async with open_store(server.url) as store:
            await Reporter(store, pool="m", node="n", settings=SETTINGS).report([report("a")], {"a": card("a")})
            await store.command("SADD", POOLS, "b")
            keys = vars(PoolKeys("b"))
            if poisoned != "head":
                await store.command("SET", keys["head"], "e 1 1 1")
            await store.command("RPUSH", keys[poisoned], "not what it should be")
            yield store


@needs_redis
async def test_status_shows_the_other_pools(tmp_path: Path) -> None:
    async with beside_a_poisoned_pool(tmp_path, "gate") as store:
        shown = await admin.status(store, SETTINGS)
    assert [rank.rank for rank in shown.ranks] == ["a"]
    assert shown.unreadable == 1


@needs_redis
@pytest.mark.parametrize("poisoned", ["head", "seen"])
async def test_a_rank_of_another_pool_is_drained_and_undrained(tmp_path: Path, poisoned: str) -> None:
    async with beside_a_poisoned_pool(tmp_path, poisoned) as store:
        assert await admin.drain(store, "a", SETTINGS) == "m"
        assert [rank.drained for rank in (await admin.status(store, SETTINGS)).ranks] == [True]
        assert await admin.drain(store, "a", SETTINGS, undo=True) == "m"
        assert [rank.drained for rank in (await admin.status(store, SETTINGS)).ranks] == [False]


@needs_redis
async def test_a_rank_that_may_be_in_the_poisoned_pool_is_unknown_and_the_pool_is_named(tmp_path: Path) -> None:
    async with beside_a_poisoned_pool(tmp_path, "seen") as store:
        with pytest.raises(UnknownRankError, match=r"no rank 'x'; there are: a; pool b cannot be read: .*WRONGTYPE"):
            await admin.drain(store, "x", SETTINGS)
