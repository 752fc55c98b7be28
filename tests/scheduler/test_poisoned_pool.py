"""A pool whose keys are junk does not take the others from an operator."""

from __future__ import annotations

from pathlib import Path

from scheduler import admin
from scheduler.keys import POOLS, PoolKeys
from scheduler.reporter import Reporter
from scheduler.store import open_store
from tests.scheduler.samples import card, report
from tests.scheduler.scene import SETTINGS
from tests.servers import needs_redis, redis_server


@needs_redis
async def test_status_shows_the_other_pools(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with open_store(server.url) as store:
            await Reporter(store, pool="m", node="n", settings=SETTINGS).report([report("a")], {"a": card("a")})
            await store.command("SADD", POOLS, "odd")
            await store.command("SET", PoolKeys("odd").gate, "not a hash")
            await store.command("SET", PoolKeys("odd").head, "e 1 1 1")
            shown = await admin.status(store, SETTINGS)
    assert [rank.rank for rank in shown.ranks] == ["a"]
    assert shown.unreadable == 1
